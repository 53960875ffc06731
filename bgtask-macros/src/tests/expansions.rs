//! The generated code, kept in `expansions/` for reviewers and in `docs/expansion.md` for users.
//! `UPDATE_EXPECT=1 cargo test -p bgtask-macros` updates both. A change there is a change in users' code, so review it.

use crate::entry_point::main;
use crate::{background, spawn};
use expect_test::{ExpectFile, expect_file};
use proc_macro2::TokenStream;
use std::fs;
use std::path::Path;
use syn::{Attribute, Item, Meta};

/// Replaces the attributes in the code by the code that they generate, and formats it.
fn expand(code: &str) -> String {
    let mut file = syn::parse_file(code).expect("the example is Rust");
    let items = std::mem::take(&mut file.items);
    file.items = items.into_iter().flat_map(expand_item).collect();
    prettyplease::unparse(&file)
}

fn expand_item(item: Item) -> Vec<Item> {
    match item {
        Item::Fn(mut function) => {
            let Some(at) = function.attrs.iter().position(is_from_bgtask) else {
                return vec![Item::Fn(function)];
            };
            let attribute = function.attrs.remove(at);
            expansion(&attribute, quote::quote!(#function)).items
        }
        Item::Impl(mut block) => {
            block.items = block.items.into_iter().flat_map(expand_method).collect();
            vec![Item::Impl(block)]
        }
        other => vec![other],
    }
}

fn expand_method(item: syn::ImplItem) -> Vec<syn::ImplItem> {
    let syn::ImplItem::Fn(mut method) = item else {
        return vec![item];
    };
    let attribute = method.attrs.remove(0);
    let expansion = expansion(&attribute, quote::quote!(#method));
    let methods = expansion
        .items
        .into_iter()
        .map(|method| syn::parse2(quote::quote!(#method)).expect("a method becomes one or two"));
    methods.collect()
}

fn expansion(attribute: &Attribute, item: TokenStream) -> syn::File {
    let arguments = match &attribute.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    let generated = if attribute.path().is_ident("background") {
        background::attribute(arguments, item)
    } else {
        main::attribute(arguments, item)
    };
    syn::parse2(generated).expect("the attributes generate items")
}

/// Expands a call of `spawn!` at the end of a function. Passes the path of the crate, as the `macro_rules!` around it does.
fn expand_call(call: &str) -> String {
    let tokens: TokenStream = call.parse().expect("the example lexes");
    let generated = spawn::expression(quote::quote!(::bgtask; #tokens));
    let function = syn::parse2(quote::quote!(
        fn calls() {
            #generated
        }
    ));
    prettyplease::unparse(&function.expect("`spawn!` generates an expression"))
}

fn is_from_bgtask(attribute: &Attribute) -> bool {
    let path = attribute.path();
    path.is_ident("background")
        || path
            .segments
            .first()
            .is_some_and(|first| first.ident == "bgtask")
}

fn check(code: &str, expected: ExpectFile) {
    expected.assert_eq(&expand(code));
}

#[test]
fn an_async_function() {
    check(
        "/// Documented.
        #[background]
        #[must_use]
        pub async fn refresh(token: ShutdownToken, (key, _): (String, u8)) -> io::Result<()> {
            token.run_until_cancelled(fetch(key)).await.unwrap_or(Ok(()))
        }",
        expect_file!["../../expansions/async_function.rs"],
    );
}

#[test]
fn a_plain_function() {
    check(
        "#[background(name = \"checksum\", log = \"info\", on_shutdown = \"finish\")]
        #[instrument(skip_all)]
        fn checksum(data: Vec<u8>, _seed: u64) -> u64 {
            data.iter().map(|&byte| u64::from(byte)).sum()
        }",
        expect_file!["../../expansions/plain_function.rs"],
    );
}

#[test]
fn a_generic_function_with_items() {
    check(
        "#[background]
        async fn sum<T: Into<u64> + Send + 'static, const N: usize>(numbers: [T; N]) -> u64 {
            fn add(a: u64, b: u64) -> u64 { a + b }
            numbers.into_iter().map(Into::into).fold(0, add)
        }
        #[background]
        async fn has_items() {
            fn helper() {}
            helper();
        }",
        expect_file!["../../expansions/generic_function.rs"],
    );
}

#[test]
fn a_method() {
    check(
        "impl Mailer {
            #[background(on_shutdown = \"cancel\")]
            pub async fn send(self: Arc<Self>, stop: ShutdownToken, mail: Mail) -> Result<(), Error> {
                self.connection(stop).deliver(mail).await
            }
        }",
        expect_file!["../../expansions/method.rs"],
    );
}

#[test]
fn a_method_with_attributes() {
    check(
        "impl Mailer {
            #[background]
            #[allow(clippy::todo)]
            #[instrument(skip_all)]
            pub async fn send(self: Arc<Self>, stop: ShutdownToken, mail: Mail) -> Result<(), Error> {
                self.connection(stop).deliver(mail).await
            }
        }",
        expect_file!["../../expansions/method_with_attributes.rs"],
    );
}

#[test]
fn a_parameter_with_cfg() {
    check(
        "#[background(crate = \"crate::tasks\")]
        fn store(#[cfg(feature = \"keyed\")] key: String, mut stop: Stop) {
            stop.now();
        }",
        expect_file!["../../expansions/cfg_parameter.rs"],
    );
}

#[test]
fn policies() {
    check(
        "#[background(
            timeout = \"30s\",
            retry(max = 5, when = is_passing),
            concurrency(max = 8, queue = 100, key = hook.len()),
            rate = \"100/s\",
            coalesce(key = hook.as_str()),
        )]
        async fn deliver(stop: ShutdownToken, State(client): State<Client>, (hook, _): (String, u8)) -> io::Result<u32> {
            client.deliver(hook, stop).await
        }
        #[background(concurrency = 1, coalesce(key = image.name(), policy = \"skip\"))]
        fn resize<T: Image>(image: T, _quality: u8) -> T {
            image.resized()
        }",
        expect_file!["../../expansions/policies.rs"],
    );
}

#[test]
fn fields_and_a_wrapper() {
    check(
        "#[background(fields(url = %url, order.id = order.id, card = redact(card)))]
        async fn deliver(stop: ShutdownToken, url: String, order: Order, card: String) {
            order.deliver(url, card, stop).await
        }
        #[background(fields(?image), wrap = with_tenant)]
        fn resize(image: Image) -> Image {
            image.resized()
        }",
        expect_file!["../../expansions/fields.rs"],
    );
}

#[cfg(feature = "durable")]
#[test]
fn fields_of_a_durable_function() {
    check(
        "#[background(durable, fields(order.id = order.id, %order.shop), wrap = with_tenant)]
        async fn send_receipt(State(mail): State<Mailer>, order: Order) -> Result<(), MailError> {
            mail.send(order).await
        }",
        expect_file!["../../expansions/durable_fields.rs"],
    );
}

#[test]
fn states() {
    check(
        "#[background]
        async fn audit(State(log): State<Log>, stop: ShutdownToken, line: String) -> io::Result<()> {
            log.append(line, stop).await
        }
        #[background]
        fn compact(State(log): State<Log>) {
            log.compact();
        }",
        expect_file!["../../expansions/states.rs"],
    );
}

#[test]
fn a_method_with_policies() {
    check(
        "impl Mailer {
            #[background(rate(limit = \"1/s\", key = self.server))]
            pub async fn send(self: Arc<Self>, mail: Mail) -> Result<(), Error> {
                self.deliver(mail).await
            }
            #[background(retry, timeout = \"30s\")]
            pub async fn send_again(self: Arc<Self>, stop: ShutdownToken, mail: Mail) -> Result<(), Error> {
                self.connection(stop).deliver(mail).await
            }
            #[background(retry)]
            pub fn check(stop: ShutdownToken) -> Result<Self, Error> {
                Self::connect(stop)
            }
        }",
        expect_file!["../../expansions/method_with_policies.rs"],
    );
}

#[test]
fn a_schedule() {
    check(
        "#[background(every = \"5m\", jitter = \"10s\", immediately)]
        async fn purge(State(pool): State<Pool>) -> Result<(), Error> {
            pool.purge().await
        }
        #[background(on_start, essential, restart(max = 5, window = \"1m\"))]
        fn consume(token: ShutdownToken) {
            read(token);
        }",
        expect_file!["../../expansions/schedule.rs"],
    );
}

#[cfg(feature = "durable")]
#[test]
fn a_durable_function() {
    check(
        "#[background(durable(queue = \"mail\"), retry(max = 5, when = is_passing), timeout = \"2m\")]
        async fn send_receipt(State(mail): State<Mailer>, order: OrderId) -> Result<Receipt, MailError> {
            mail.send(order).await
        }",
        expect_file!["../../expansions/durable.rs"],
    );
    check(
        "#[background(durable(unique(key = order.id, within = \"1d\"), keep = \"2d\", notify = webhook(&order.callback)), concurrency(max = 4, key = order.shop))]
        async fn render(job: Job, order: Order) {}",
        expect_file!["../../expansions/durable_unique.rs"],
    );
    check(
        "#[background(durable(was = \"app::tidy\"), every = \"1h\", immediately, missed = \"all\", jitter = \"1m\")]
        async fn tidy_up(job: Job, State(pool): State<Pool>) -> Result<(), Error> {
            pool.tidy_up(job.tick()).await
        }",
        expect_file!["../../expansions/durable_schedule.rs"],
    );
}

#[test]
fn blocks() {
    let calls = [
        r#""sync", async move { sync().await }"#,
        r#""sync", move |token| async move { sync(token).await }"#,
        r#""hash", log = "info", || hash()"#,
        r#"NAME, retry(max = 3, when = is_passing), coalesce(key = page), async move { load(page).await }"#,
        r#""sync", timeout = "30s", |State(pool): State<Pool>, token: ShutdownToken| pool.sync(token)"#,
        r#""sync", |State(pool): State<Pool>| pool.sync()"#,
        r#"in &group, "sync", timeout = "30s", async move { sync().await }"#,
        r#""sync", timout = "30s", every = "5m", async move { sync().await }"#,
    ];
    let mut all = String::new();
    for call in calls {
        all += &format!("// spawn!({call})\n{}\n", expand_call(call));
    }
    expect_file!["../../expansions/blocks.rs"].assert_eq(&all);
}

#[test]
fn errors() {
    check(
        "#[background(nmae = \"x\")]
        pub unsafe fn task(key: &str, token: ShutdownToken, number: u32) -> u32 {
            number
        }",
        expect_file!["../../expansions/errors.rs"],
    );
}

#[test]
fn the_page_for_users_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).expect("a file of this repository");
    let (readme, page) = (read("README.md"), read("docs/expansion.md"));
    let (_, from_example) = readme
        .split_once("```rust,no_run\n")
        .expect("the first example");
    let (example, _) = from_example.split_once("```").expect("its end");
    let file = syn::parse_file(example).expect("the example is Rust");

    let mut parts = page.split("<!-- from the README -->\n");
    let mut updated = parts.next().unwrap_or_default().to_owned();
    let functions = file
        .items
        .into_iter()
        .filter(|item| matches!(item, Item::Fn(_)));
    for (part, function) in parts.zip(functions) {
        // The text of the page follows the two blocks.
        let rest = part.splitn(5, "```").nth(4).unwrap_or("\n");
        let function = prettyplease::unparse(&syn::File {
            shebang: None,
            frontmatter: None,
            attrs: Vec::new(),
            items: vec![function],
        });
        updated += &format!(
            "<!-- from the README -->\n```rust,ignore\n{function}```\n\nbecomes\n\n```rust,ignore\n{}```{rest}",
            expand(&function)
        );
    }
    expect_file![root.join("docs/expansion.md")].assert_eq(&updated);
}
