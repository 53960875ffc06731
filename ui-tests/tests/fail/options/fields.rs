#[bgtask::background(fields)]
async fn nothing(id: u8) {}

#[bgtask::background(fields())]
async fn empty(id: u8) {}

#[bgtask::background(fields = id)]
async fn no_parentheses(id: u8) {}

#[bgtask::background(fields(id = id))]
async fn a_name_of_the_span(id: u8) {}

#[bgtask::background(fields(name, outcome = "none"))]
async fn two_names_of_the_span(name: u8) {}

#[bgtask::background(fields(order.id = 1, key, order.id = 2))]
async fn twice(key: u8) {}

#[bgtask::background(fields("key" = key))]
async fn a_literal(key: u8) {}

#[bgtask::background(fields(key = ))]
async fn no_value(key: u8) {}

#[bgtask::background(fields(key = %))]
async fn only_a_sign(key: u8) {}

#[bgtask::background(fields(%key = key))]
async fn the_sign_at_the_name(key: u8) {}

#[bgtask::background(fields(key: key))]
async fn a_colon(key: u8) {}

#[bgtask::background(fields(key other))]
async fn no_comma(key: u8, other: u8) {}

#[bgtask::background(fields(key = key other))]
async fn no_comma_behind_a_value(key: u8, other: u8) {}

#[bgtask::background(fields(card = redact()))]
async fn redacts_nothing(card: String) {}

#[bgtask::background(fields(card = redact(card, 4)))]
async fn redacts_two(card: String) {}

#[bgtask::background(fields(card = %redact(card)))]
async fn redacts_with_a_sign(card: String) {}

#[bgtask::background(feilds(key))]
async fn misspelled(key: u8) {}

#[bgtask::background(fields(
    a1 = 1, a2 = 1, a3 = 1, a4 = 1, a5 = 1, a6 = 1, a7 = 1, a8 = 1,
    b1 = 1, b2 = 1, b3 = 1, b4 = 1, b5 = 1, b6 = 1, b7 = 1, b8 = 1, c1 = 1
))]
async fn too_many() {}

fn main() {}
