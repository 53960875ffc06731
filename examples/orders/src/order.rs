//! An order: which ones the shop accepts, and what they cost. Knows nothing of the web or the database.

/// The price of everything that the shop sells.
const CENTS: i64 = 1200;

/// In characters; the message and the page's form name it, too.
const LONGEST_ITEM: usize = 100;

#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) item: String,
    pub(crate) quantity: i64,
}

impl Order {
    /// Returns a new order, or a sentence about what is wrong with it.
    pub(crate) fn new(item: &str, quantity: &str) -> Result<Self, &'static str> {
        let item = item.trim();
        if item.is_empty() {
            return Err("The item is missing: write what you would like to order.");
        }
        if item.chars().count() > LONGEST_ITEM {
            return Err("The item is too long: use at most 100 characters.");
        }
        if item.chars().any(char::is_control) {
            return Err("The item contains a control character: use plain text.");
        }
        match quantity.trim().parse() {
            Ok(quantity @ 1..=99) => Ok(Self {
                id: format!("{:012x}", fastrand::u64(..1 << 48)),
                item: item.to_owned(),
                quantity,
            }),
            _ => Err("The quantity is wrong: order between 1 and 99."),
        }
    }

    pub(crate) fn cents(&self) -> i64 {
        self.quantity * CENTS
    }

    /// Returns the lines of the receipt.
    pub(crate) fn receipt(&self) -> Vec<String> {
        let euros = |cents: i64| format!("€ {}.{:02}", cents / 100, cents % 100);
        let rule = "─".repeat(32);
        let row = |left: &str, right: &str| format!("{left:<16}{right:>16}");
        vec![
            row("Receipt", &self.id),
            rule.clone(),
            self.item.clone(),
            row(
                &format!("{} × {}", self.quantity, euros(CENTS)),
                &euros(self.cents()),
            ),
            rule,
            row("Paid", &euros(self.cents())),
            String::new(),
            "Thank you!".to_owned(),
        ]
    }
}
