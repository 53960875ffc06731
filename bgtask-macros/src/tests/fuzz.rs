//! Whatever stands under an attribute, and whatever is written in it: no panic, and either code or an error with a stub.
//! Feeds random arguments and random, mutilated items to the attributes, as an editor does with half-typed code, and random calls
//! to `spawn!`.
//!
//! A few thousand inputs in `cargo test`. For as many as one likes, from any seed, which a failure names:
//! `BGTASK_INPUTS=1000000 BGTASK_SEED=7 cargo test --release -p bgtask-macros fuzz -- --nocapture`

use crate::entry_point::{main, test};
use crate::function::Function;
use crate::function::types::{is_state, is_token, is_token_wrapped};
use crate::{background, spawn};
use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use syn::{FnArg, Item};

type Attribute = fn(TokenStream, TokenStream) -> TokenStream;

/// SplitMix64: a few lines, and the same numbers everywhere.
struct Random {
    state: u64,
    /// How seldom something odd is to come, once in so many times.
    odd_once_in: usize,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }

    /// Mostly one of the usual things, and now and then an odd one.
    fn mostly<'t>(&mut self, usual: &[&'t str], odd: &[&'t str]) -> &'t str {
        let odd_now = self.odd_once_in > 0 && self.once_in(self.odd_once_in);
        self.pick(if odd_now { odd } else { usual })
    }

    /// So many words of those, each followed by the separator.
    fn some(&mut self, most: usize, separator: &str, word: impl Fn(&mut Self) -> String) -> String {
        let mut text = String::new();
        for _ in 0..self.below(most + 1) {
            text += &word(self);
            text += separator;
        }
        text
    }
}

/// What they are for, how they are written, and how not.
const POLICIES: [(&str, &str, &str); 24] = [
    ("called", r#"timeout = "30s""#, r#"timeout("30s")"#),
    (
        "called",
        r#"retry(max = 5, backoff = "linear", base = "1s", cap = "1m", jitter, when = |e| e.x(), panics, last_attempt = false)"#,
        "retry(max = 1, max = 2, base = \"1h\", when = , last_attempt = 1)",
    ),
    ("called", "retry(panics)", "retry = 3"),
    ("called", "retry(panics, when = is_passing)", "retry(,)"),
    ("called", "concurrency = 8", "concurrency = 0"),
    (
        "called",
        r#"concurrency(max = 8, queue = 0, overflow = "drop_oldest", key = key.len())"#,
        r#"concurrency(queue = 1, overflow = "explode")"#,
    ),
    ("called", "coalesce(key = key)", r#"coalesce = "join""#),
    (
        "called",
        r#"coalesce(key = (key, &arg1), policy = "trailing")"#,
        "coalesce(key = key key, policy = join)",
    ),
    ("called", r#"coalesce(policy = "skip")"#, "coalesce(key)"),
    ("called", r#"rate = "100/s""#, r#"rate = "0/s""#),
    (
        "called",
        r#"rate(limit = "5/30s", key = { let a = key; a }, overflow = "refuse")"#,
        "rate(key = self.0)",
    ),
    ("called", "essential", "essential = true"),
    ("scheduled", r#"every = "5m""#, r#"every = "0s""#),
    (
        "scheduled",
        r#"cron = "0 3 * * *""#,
        r#"cron = "0 25 * * * * *""#,
    ),
    (
        "scheduled",
        r#"timezone = "Europe/Berlin""#,
        r#"timezone = "äöü/../self""#,
    ),
    ("scheduled", "immediately", "immediately()"),
    ("scheduled", "overlap", "overlap ="),
    ("scheduled", r#"missed = "all""#, "missed"),
    ("scheduled", r#"jitter = "10s""#, "jitter"),
    ("scheduled", "on_start", "on_start { }"),
    (
        "scheduled",
        r#"restart(max = 5, window = "1m", when = "always", jitter)"#,
        "restart(max = 99999999999, window = \"\")",
    ),
    ("scheduled", "restart", "restart essential"),
    ("scheduled", "essential", "essential(essential)"),
    ("called", "queue = 5", "max"),
];

fn arguments(random: &mut Random) -> String {
    let mut keys = vec![
        (r#"name = "a name""#, r#"name = """#),
        (r#"log = "info""#, r#"log("info")"#),
        (r#"on_shutdown = "drain""#, r#"on_shutdown = "cancel" "x""#),
        (r#"warn_after = "30s""#, r#"warn_after = "ever""#),
        (r#"crate = "::bgtask""#, r#"crate = "::""#),
    ];
    if random.once_in(2) {
        // Mostly one that fits whatever the function is like.
        let of_policies = random.mostly(&["called"], &["scheduled", "any"]);
        let policies = POLICIES
            .iter()
            .filter(|(of, ..)| *of == of_policies || of_policies == "any");
        keys.extend(policies.map(|(_, usual, odd)| (*usual, *odd)));
    }
    if random.once_in(3) {
        keys = vec![
            (r#"flavor = "multi_thread""#, r#"flavor = "current_thread""#),
            ("worker_threads = 2", "worker_threads = -1"),
            (r#"grace = "1m30s""#, r#"grace = "18446744073709551615h""#),
            (r#"warn_after = "1m""#, "warn_after(never)"),
            (r#"dump = "SIGUSR1""#, r#"dump = "SIGKILL""#),
            (r#"crate = "crate::x""#, r#"crate = "crate::<T>""#),
        ];
    }
    let mut text = String::new();
    for (usual, odd) in keys {
        if random.once_in(3) {
            text += random.mostly(
                &[usual],
                &[
                    odd,
                    usual,
                    "nmae = 1",
                    "x",
                    "=",
                    "name",
                    "log =",
                    "name == 1",
                    "1",
                    r#""x""#,
                    "crate = bgtask",
                    "log = b\"x\"",
                    "name: 1",
                    "worker_threads = 0",
                    "worker_threads = 0x10usize",
                    "worker_threads = 99999999999999999999999999",
                    "on_shutdown { }",
                    "name = { a, b }",
                    "name = r\"raw\"",
                    "name = c\"c\"",
                    "name = \"äöü 🚀\"",
                    "self = 1",
                    "r#type = 1",
                    "bgtask::name = 1",
                    "grace = \"1s1m\"",
                    "grace = 1.5",
                    "log = 'c'",
                    "name = concat!(\"a\")",
                ],
            );
            text += random.mostly(&[", "], &[" ", ";", ",,"]);
        }
    }
    text
}

fn ty(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.once_in(3) {
        let usual = [
            "u8",
            "String",
            "ShutdownToken",
            "bgtask::ShutdownToken",
            "State<Pool>",
            "bgtask::State<Vec<T>>",
            "Self",
            "T",
            "()",
            "Token",
            "std::io::Result<()>",
            "&'static str",
            "fn(&u8) -> &u8",
            "r#type",
            "Größe",
            "[u8; N]",
            "<T as U>::V",
        ];
        let odd = [
            "!",
            "_",
            "str",
            "&str",
            "&'a u8",
            "dyn Fn()",
            "impl Sized",
            "[u8]",
            "Cow<'_, str>",
            "m!()",
            "&ShutdownToken",
            "State",
            "State<>",
            "State<'static>",
            "&State<u8>",
            "Arc<State<T, U>>",
        ];
        return random.mostly(&usual, &odd).to_owned();
    }
    let inner = ty(random, depth - 1);
    let usual = [
        "Vec<#>",
        "Option<#>",
        "(#, u8)",
        "[#; { 1 + N }]",
        "Box<dyn Fn(#) -> # + Send>",
        "Arc<#>",
        "(#)",
        "Result<#, #>",
    ];
    let odd = [
        "&#",
        "&'static mut #",
        "[#]",
        "impl Iterator<Item = #> + 'static",
        "*const #",
        "for<'b> fn(&'b #) -> #",
        "dyn for<'c> Trait<#>",
        "<# as Trait<'static, { 3 }>>::Out",
        "Box<dyn Fn(#) + '_>",
        "Foo<'a, #>",
        "Bar<#: Copy>",
    ];
    random
        .mostly(&usual, &odd)
        .replacen('#', &inner, 1)
        .replace('#', "u8")
}

fn parameter(random: &mut Random) -> String {
    let attribute = random.mostly(
        &["", "", "", "", "#[cfg(any())]", "#[allow(unused)]"],
        &["#[doc = \"x\"]", "#[cfg]", "#[cfg_attr(x, y)]"],
    );
    let pattern = random.mostly(
        &[
            "key",
            "token",
            "mut sum",
            "_",
            "_unused",
            "(a, b)",
            "[first, ..]",
            "Point { x, y: z }",
            "State(mut pool)",
            "r#fn",
            "größe",
            "run",
            "arg1",
        ],
        &[
            "ref by",
            "whole @ Some(_)",
            "0..=9",
            "&x",
            "a | b",
            "self",
            "m!()",
        ],
    );
    // Now and then as deep as nobody writes it.
    let depth = if random.once_in(200) { 60 } else { 3 };
    format!("{attribute} {pattern}: {}", ty(random, depth))
}

fn function(random: &mut Random) -> String {
    let mut text = random.some(2, "\n", |random| {
        let usual = [
            "/// Documented.",
            "#[allow(unused)]",
            "#[cfg(x)]",
            "#[cfg_attr(x, allow(y), must_use)]",
            "#[instrument(skip(x))]",
            "#[must_use]",
            "#[deprecated(note = \"x\")]",
            "#[track_caller]",
            "#[clippy::x]",
        ];
        let odd = [
            "#[background]",
            "#[bgtask::background(name = \"x\")]",
            "#[cfg_attr(]",
            "#[a::b::c = 1]",
            "#[cfg_attr]",
            "#![x]",
        ];
        random.mostly(&usual, &odd).to_owned()
    });
    text += random.mostly(
        &["", "", "pub ", "pub(crate) ", "pub(in a::b) "],
        &["crate ", "default ", "pub(x) "],
    );
    text += random.mostly(
        &["async ", "async ", ""],
        &[
            "const ",
            "unsafe ",
            "async unsafe ",
            "unsafe async ",
            "extern \"C\" ",
            "extern ",
            "safe ",
            "gen ",
        ],
    );
    text += random.mostly(&["fn "], &["struct ", "", "fn fn "]);
    text += random.mostly(
        &["task", "main", "r#async", "größe", "_task"],
        &["Self", "m!", "", "1"],
    );
    if random.once_in(3) {
        let generics = random.some(3, ", ", |random| {
            let usual = ["T", "T: Send + 'static", "const N: usize", "#[x] U"];
            let odd = [
                "'a",
                "'a: 'static",
                "T = u8",
                "const N: usize = { 3 }",
                "const N",
            ];
            random.mostly(&usual, &odd).to_owned()
        });
        write!(text, "<{generics}>").expect("writing to a string");
    }
    let receiver = random.mostly(
        &[
            "",
            "",
            "",
            "",
            "self, ",
            "self: Arc<Self>, ",
            "mut self: Box<Self>, ",
        ],
        &[
            "&self, ",
            "&'a mut self, ",
            "self: &Self, ",
            "self: _, ",
            "Self, ",
        ],
    );
    let parameters = random.some(3, ", ", parameter);
    let variadic = random.mostly(&[""], &["...", "", "_: ..."]);
    write!(text, "({receiver}{parameters}{variadic}) ").expect("writing to a string");
    if random.once_in(2) {
        write!(text, "-> {} ", ty(random, 2)).expect("writing to a string");
    }
    text += random.mostly(
        &["", "", "", "where T: Send, ", "where Self: Sized "],
        &["where ", "where 'a: 'b", "-> u8"],
    );
    let statements = random.some(3, " ", |random| {
        random
            .pick(&[
                "let a = 1;",
                "key.await?;",
                "return;",
                "fn inner() {}",
                "const X: u8 = 1;",
                "Self::new();",
                "self.run();",
                "T::new();",
                "loop { break }",
                "m! { struct async }",
                "async move { self };",
                "struct S;",
                "if false { return Err(()) }",
                "#[x] 1;",
            ])
            .to_owned()
    });
    let inner = random.mostly(
        &["", "", "", "", "#![allow(unused)]", "//! Inner.\n"],
        &["#!", "#![", "#![x] #![y(]"],
    );
    let body = format!(
        "{{ {inner} {statements} {} }}",
        random.pick(&["", "", "1", "Ok(())", "loop {}"])
    );
    text += random.mostly(&[&body], &[";", "", "= 1;"]);
    text
}

fn item(random: &mut Random) -> String {
    if !random.once_in(12) {
        return function(random);
    }
    random
        .pick(&[
            "",
            "struct S;",
            "pub enum E { A(fn()) }",
            "const X: fn() = main;",
            "static X: u8 = 1;",
            "impl T for U { fn f() {} }",
            "trait T { fn f(); }",
            "mod m { fn f() {} }",
            "use a::fn_;",
            "type F = fn();",
            "macro_rules! m { () => { fn f() {} }; }",
            "extern \"C\" { fn f(); }",
            "m!();",
            "union U { a: u8 }",
            "fn",
            "async",
            "pub",
            "#[x]",
            "let x = 1;",
            "1 + 1",
            "{ }",
            "extern crate x;",
            "async fn",
            "async fn task",
            "macro m() {}",
            "fn task() -> ",
            "fn task<T",
            "gen fn x() {}",
        ])
        .to_owned()
}

/// One token out of the blue.
fn token(random: &mut Random) -> TokenTree {
    match random.below(8) {
        0..3 => {
            let word = random.pick(&[
                "retry",
                "coalesce",
                "State",
                "fn",
                "async",
                "self",
                "Self",
                "key",
                "T",
                "pub",
                "where",
                "ShutdownToken",
                "u8",
                "name",
                "const",
                "impl",
                "dyn",
                "mut",
                "_",
                "extern",
                "struct",
                "return",
                "crate",
            ]);
            TokenTree::Ident(Ident::new(word, Span::call_site()))
        }
        3..6 => {
            let characters = [
                '<', '>', ',', ':', ';', '=', '&', '!', '#', '-', '.', '|', '\'', '*', '?', '@',
                '$',
            ];
            let spacing = if random.once_in(2) {
                Spacing::Joint
            } else {
                Spacing::Alone
            };
            TokenTree::Punct(Punct::new(
                characters[random.below(characters.len())],
                spacing,
            ))
        }
        6 => TokenTree::Literal(match random.below(4) {
            0 => Literal::string("text"),
            1 => Literal::u8_suffixed(7),
            2 => Literal::f64_unsuffixed(1.5),
            _ => Literal::character('c'),
        }),
        _ => {
            let delimiters = [
                Delimiter::Brace,
                Delimiter::Parenthesis,
                Delimiter::Bracket,
                Delimiter::None,
            ];
            let inside: TokenStream = (0..random.below(3)).map(|_| token(random)).collect();
            TokenTree::Group(Group::new(delimiters[random.below(4)], inside))
        }
    }
}

/// Cuts tokens off, drops, doubles, swaps, inserts and replaces some, at any depth.
fn mutilate(tokens: TokenStream, random: &mut Random) -> TokenStream {
    let mut tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let at = random.below(tokens.len());
    if let Some(TokenTree::Group(group)) = tokens.get(at)
        && !random.once_in(4)
    {
        let inside = mutilate(group.stream(), random);
        let delimiter = if random.once_in(10) {
            Delimiter::None
        } else {
            group.delimiter()
        };
        tokens[at] = TokenTree::Group(Group::new(delimiter, inside));
        return tokens.into_iter().collect();
    }
    match random.below(7) {
        0 => tokens.truncate(at),
        1 if !tokens.is_empty() => drop(tokens.remove(at)),
        2 if !tokens.is_empty() => tokens.insert(at, tokens[at].clone()),
        3 if !tokens.is_empty() => {
            let other = random.below(tokens.len());
            tokens.swap(at, other);
        }
        4 if !tokens.is_empty() => tokens[at] = token(random),
        5 if !tokens.is_empty() => {
            // As a `macro_rules` would pass it on.
            let inside = tokens[at].clone().into();
            tokens[at] = TokenTree::Group(Group::new(Delimiter::None, inside));
        }
        _ => tokens.insert(at.min(tokens.len()), token(random)),
    }
    tokens.into_iter().collect()
}

fn input(random: &mut Random, text: fn(&mut Random) -> String) -> TokenStream {
    // What does not lex never gets as far as a macro.
    let mut tokens: TokenStream = loop {
        if let Ok(tokens) = text(random).parse() {
            break tokens;
        }
    };
    while random.odd_once_in > 0 && random.once_in(random.odd_once_in.min(4)) {
        tokens = mutilate(tokens, random);
    }
    tokens
}

/// What became of one input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Became {
    Code,
    ErrorsAndStub,
    ErrorsAndTheItem,
}

fn check(output: TokenStream, item: &TokenStream, is_main: bool) -> Result<Became, String> {
    let errors = mentions_compile_error(output.clone());
    let Ok(function) = syn::parse2::<Function>(item.clone()) else {
        // What is no function is given back as it was.
        let given_back = output.to_string().ends_with(&item.to_string());
        return (errors && given_back)
            .then_some(Became::ErrorsAndTheItem)
            .ok_or_else(|| "no function, and no error".to_owned());
    };
    let name = &function.signature.ident;
    let parsed = syn::parse2::<syn::File>(output);
    let items = match parsed {
        Ok(file) => file.items,
        // The compiler parses the body before any macro sees it; what it would refuse proves nothing.
        Err(_) if !errors && !is_rust(item) => return Ok(Became::Code),
        Err(error) => return Err(format!("the output does not parse: {error}")),
    };
    let found = items.iter().find_map(|item| match item {
        Item::Fn(found) if found.sig.ident == *name => Some(found),
        _ => None,
    });
    let Some(found) = found else {
        return Err(format!("no function `{name}` in the output"));
    };
    let expected = function
        .signature
        .inputs
        .iter()
        .filter(|input| match input {
            FnArg::Receiver(_) => true,
            FnArg::Typed(typed) => {
                let is_injected = is_token(&typed.ty) || is_state(&typed.ty);
                !(is_injected || errors && is_token_wrapped(&typed.ty))
            }
        });
    let expected = if is_main { 0 } else { expected.count() };
    if found.sig.inputs.len() != expected {
        return Err(format!(
            "{} parameters, and not {expected}",
            found.sig.inputs.len()
        ));
    }
    Ok(if errors {
        Became::ErrorsAndStub
    } else {
        Became::Code
    })
}

fn is_rust(item: &TokenStream) -> bool {
    syn::parse2::<syn::ItemFn>(item.clone()).is_ok()
}

fn mentions_compile_error(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "compile_error",
        TokenTree::Group(group) => mentions_compile_error(group.stream()),
        _ => false,
    })
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")),
    )
}

#[test]
fn whatever_comes_in_code_or_errors_and_a_stub_come_out() {
    let inputs = number("BGTASK_INPUTS").unwrap_or(4_000);
    let seed = number("BGTASK_SEED").unwrap_or(0x0062_6774_6173_6b00);
    let (mut code, mut stubs, mut items) = (0_u64, 0_u64, 0_u64);
    for index in 0..inputs {
        // Of its own seed, so that any one can be had again without those before it.
        let mut random = Random {
            state: seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            odd_once_in: [0, 30, 8, 2][(index % 4) as usize],
        };
        let (arguments, item) = (input(&mut random, arguments), input(&mut random, item));
        let attributes: [(bool, Attribute); 3] = [
            (false, background::attribute),
            (true, main::attribute),
            // A test is like a `main`: what is called has no parameters.
            (true, test::attribute),
        ];
        for (is_main, attribute) in attributes {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let output = attribute(arguments.clone(), item.clone());
                check(output.clone(), &item, is_main)
                    .map_err(|wrong| format!("{wrong}\noutput: {output}"))
            }));
            match outcome {
                Ok(Ok(Became::Code)) => code += 1,
                Ok(Ok(Became::ErrorsAndStub)) => stubs += 1,
                Ok(Ok(Became::ErrorsAndTheItem)) => items += 1,
                Ok(Err(wrong)) => panic!(
                    "seed {seed}, input {index}, main {is_main}: {wrong}\narguments: {arguments}\nitem: {}",
                    item.to_token_stream()
                ),
                Err(_) => panic!(
                    "seed {seed}, input {index}, main {is_main}: a panic\narguments: {arguments}\nitem: {item}"
                ),
            }
        }
    }
    eprintln!(
        "seed {seed}, {inputs} inputs to each attribute: {code} became code, {stubs} errors and a stub, {items} errors and the item"
    );
    // Of each a good part: else the test has lost its way.
    for part in [code, stubs, items] {
        assert!(part * 50 > inputs, "{code}, {stubs}, {items}");
    }
}

fn work(random: &mut Random) -> String {
    let parameters = random.mostly(
        &[
            "||",
            "|token|",
            "|_|",
            "|token: ShutdownToken|",
            "|State(pool): State<Pool>|",
            "|mut token: ShutdownToken, #[cfg(x)] pool: bgtask::State<Vec<T>>,|",
        ],
        &[
            "|a, b|",
            "|key: String|",
            "|(a, b)|",
            "|token: &ShutdownToken|",
            "|a: ShutdownToken, b: ShutdownToken|",
            "|",
            "|token: |",
            "|a: State<A>, b: State<A>, c: State<A>, d: State<A>, e: State<A>, f: State<A>, g: State<A>|",
            "|a | b|",
        ],
    );
    let block = random.mostly(
        &[
            "{ 1 }",
            "{ key.await?; Ok(()) }",
            "{ loop {} }",
            "{ let a = b; async move { a } }",
            "{ struct S; }",
        ],
        &["{ , }", "", "{ => }", "1", "{ let }"],
    );
    let head = random.mostly(
        &["move ", "", "async ", "async move "],
        &["static ", "const ", "move async ", "for<'a> ", "unsafe "],
    );
    let usual = [
        &format!("async {block}"),
        &format!("async move {block}"),
        &format!("async move {block}.boxed()"),
        &format!("{head}{parameters} {block}"),
        &format!("{head}{parameters} async move {block}"),
        &format!("{head}{parameters} -> u8 {block}"),
        "fetch(key)",
        "future",
        "if a { b } else { c }",
        "Box::pin(async {})",
        "a::<B, C>::d()",
        "retry(key)",
    ]
    .map(|work: &str| work.to_owned());
    let odd = [
        "",
        "async",
        "move",
        "async move",
        "=",
        "a, b",
        "1",
        "async {} async {}",
    ];
    if random.odd_once_in > 0 && random.once_in(random.odd_once_in) {
        return random.pick(&odd).to_owned();
    }
    usual[random.below(usual.len())].clone()
}

fn call(random: &mut Random) -> String {
    let group = random.mostly(
        &["", "", "in &group, ", "in &self.groups[0], "],
        &["in ", "in, ", "in &, ", "in a b, "],
    );
    let name = random.mostly(
        &[
            r#""sync", "#,
            r#""sync", "#,
            "NAME, ",
            "Self::NAME, ",
            r#"concat!("a", "b"), "#,
            "Names::<A, B>::SYNC, ",
            r#"r"raw", "#,
        ],
        &[
            "",
            ", ",
            "name, ",
            r#"name = "sync", "#,
            r#""" , "#,
            r#"format!("x"), "#,
            "1, ",
            r#""sync" "#,
            "a b, ",
        ],
    );
    let mut options = String::new();
    let called = POLICIES.iter().filter(|(of, ..)| *of == "called");
    let called = called.map(|(_, usual, odd)| (*usual, *odd));
    let of_calls = [
        (r#"log = "info""#, r#"log("info")"#),
        (r#"on_shutdown = "drain""#, r#"on_shutdown = "cancel" "x""#),
        (r#"warn_after = "30s""#, r#"warn_after = "ever""#),
    ];
    for (usual, odd) in called.chain(of_calls) {
        if random.once_in(8) {
            options += random.mostly(
                &[usual],
                &[
                    odd,
                    "nmae = 1",
                    r#"name = "x""#,
                    r#"every = "5m""#,
                    "on_start",
                    "restart(max = 5)",
                    "x",
                    "=",
                    "log ==",
                ],
            );
            options += random.mostly(&[", "], &[" ", ",,", ";"]);
        }
    }
    let behind = random.mostly(
        &["", "", ","],
        &[r#", timeout = "30s""#, ",,", ", async {}", ";"],
    );
    format!("{group}{name}{options}{}{behind}", work(random))
}

#[test]
fn whatever_is_called_code_or_errors_in_one_expression_come_out() {
    let inputs = number("BGTASK_INPUTS").unwrap_or(4_000);
    let seed = number("BGTASK_SEED").unwrap_or(0x0062_6774_6173_6b00);
    let (mut code, mut errors) = (0_u64, 0_u64);
    for index in 0..inputs {
        let mut random = Random {
            state: seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            odd_once_in: [0, 30, 8, 2][(index % 4) as usize],
        };
        let call = input(&mut random, call);
        let output = catch_unwind(AssertUnwindSafe(|| {
            spawn::expression(quote::quote!(::bgtask; #call))
        }));
        let Ok(output) = output else {
            panic!("seed {seed}, input {index}: a panic\ncall: {call}");
        };
        let has_errors = mentions_compile_error(output.clone());
        // Odd tokens of the user may remain in the output, and the compiler reports them. Regular calls have to become an
        // expression.
        if let Err(error) = syn::parse2::<syn::Expr>(output.clone())
            && index % 4 == 0
        {
            panic!("seed {seed}, input {index}: {error}\ncall: {call}\noutput: {output}");
        }
        if has_errors {
            errors += 1;
        } else {
            code += 1;
        }
    }
    eprintln!("seed {seed}, {inputs} calls: {code} became code, {errors} errors");
    for part in [code, errors] {
        assert!(part * 10 > inputs, "{code}, {errors}");
    }
}
