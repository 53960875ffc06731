//! Random input to the attributes and to `spawn!`, as an editor sends it while code is being typed: the macros never panic,
//! and return either code, or errors with a stub.
//!
//! `cargo test` feeds a few thousand inputs. More of them, from any seed, which a failure names:
//! `BGTASK_INPUTS=1000000 BGTASK_SEED=7 cargo test --release -p bgtask-macros fuzz -- --nocapture`

use crate::entry_point::{main, test};
use crate::errors::Errors;
use crate::function::Function;
use crate::function::types::{is_bare_job, is_our_job, is_state, is_token, is_token_wrapped};
use crate::options::task::TaskOptions;
use crate::tokens::mentions;
use crate::{background, spawn};
use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use std::panic::{AssertUnwindSafe, catch_unwind};
use syn::{FnArg, Item};

struct Random {
    rng: fastrand::Rng,
    /// The mean number of regular choices before an odd one. With zero, there are no odd ones.
    odd_once_in: usize,
}

// The choices of a word are written as one string, with `¦` between them.
impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.rng.usize(..bound.max(1))
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn odd_now(&mut self) -> bool {
        self.odd_once_in > 0 && self.once_in(self.odd_once_in)
    }

    fn pick<'t>(&mut self, words: &'t str) -> &'t str {
        let words: Vec<_> = words.split('¦').map(str::trim).collect();
        words[self.below(words.len())]
    }

    fn mostly<'t>(&mut self, usual: &'t str, odd: &'t str) -> &'t str {
        let words = if self.odd_now() { odd } else { usual };
        self.pick(words)
    }

    /// Returns at most this many of the words, each followed by the separator.
    fn some(&mut self, most: usize, separator: &str, word: impl Fn(&mut Self) -> String) -> String {
        let count = self.below(most + 1);
        (0..count).map(|_| word(self) + separator).collect()
    }
}

// An option, and mistakes in it. Each list is for functions that are called, for scheduled ones, or for an entry point.
const CALLED: &[(&str, &str)] = &[
    (r#"timeout = "30s""#, r#"timeout("30s")"#),
    (
        r#"retry(max = 5, backoff = "linear", base = "1s", cap = "1m", jitter, when = |e| e.x(), panics, last_attempt = false)"#,
        r#"retry(max = 1, max = 2, base = "1h", when = , last_attempt = 1)"#,
    ),
    ("retry(panics)", "retry = 3"),
    ("retry(panics, when = is_passing)", "retry(,)"),
    ("concurrency = 8", "concurrency = 0"),
    (
        r#"concurrency(max = 8, queue = 0, overflow = "drop_oldest", key = key.len())"#,
        r#"concurrency(queue = 1, overflow = "explode")"#,
    ),
    ("coalesce(key = key)", r#"coalesce = "join""#),
    (
        r#"coalesce(key = (key, &arg1), policy = "trailing")"#,
        "coalesce(key = key key, policy = join)",
    ),
    (r#"coalesce(policy = "skip")"#, "coalesce(key)"),
    (r#"rate = "100/s""#, r#"rate = "0/s""#),
    (
        r#"rate(limit = "5/30s", key = { let a = key; a }, overflow = "refuse")"#,
        "rate(key = self.0)",
    ),
    ("wrap = around", r#"wrap = "around""#),
    (
        "fields(key, order.id = %key.len(), ?arg1, card = redact(key))",
        r#"fields(id, %key = , "x" = 1, a..b, redact(), key = redact(,))"#,
    ),
    ("essential", "essential = true"),
    ("queue = 5", "max"),
    (
        r#"durable(queue = "mail", keep = "7d", unique(key = key, within = "1d"))"#,
        r#"durable(unique(key = , within = "2d"), queue = "ä", within, notify)"#,
    ),
    ("durable(unique, notify = to(key))", "durable = unique"),
];

const SCHEDULED: &[(&str, &str)] = &[
    (r#"every = "5m""#, r#"every = "0s""#),
    (r#"cron = "0 3 * * *""#, r#"cron = "0 25 * * * * *""#),
    (
        r#"timezone = "Europe/Berlin""#,
        r#"timezone = "äöü/../self""#,
    ),
    ("immediately", "immediately()"),
    ("overlap", "overlap ="),
    (r#"missed = "all""#, "missed"),
    (r#"jitter = "10s""#, "jitter"),
    ("on_start", "on_start { }"),
    (
        r#"restart(max = 5, window = "1m", when = "always", jitter)"#,
        r#"restart(max = 99999999999, window = "")"#,
    ),
    ("restart", "restart essential"),
    ("essential", "essential(essential)"),
    (r#"durable(queue = "mail")"#, "durable(unique)"),
];

const OF_CALLS: &[(&str, &str)] = &[
    (r#"log = "info""#, r#"log("info")"#),
    (r#"on_shutdown = "drain""#, r#"on_shutdown = "cancel" "x""#),
    (r#"warn_after = "30s""#, r#"warn_after = "ever""#),
];

const OF_FUNCTIONS: &[(&str, &str)] = &[
    (r#"name = "a name""#, r#"name = """#),
    (r#"crate = "::bgtask""#, r#"crate = "::""#),
];

const OF_MAIN: &[(&str, &str)] = &[
    (r#"flavor = "multi_thread""#, r#"flavor = "current_thread""#),
    ("worker_threads = 2", "worker_threads = -1"),
    (r#"grace = "1m30s""#, r#"grace = "18446744073709551615h""#),
    (r#"warn_after = "1m""#, "warn_after(never)"),
    (r#"dump = "SIGUSR1""#, r#"dump = "SIGKILL""#),
    (r#"crate = "crate::x""#, r#"crate = "crate::<T>""#),
];

fn arguments(random: &mut Random) -> String {
    let mut options = if random.once_in(3) {
        OF_MAIN.to_vec()
    } else {
        [OF_FUNCTIONS, OF_CALLS].concat()
    };
    if random.once_in(2) {
        // Usually policies that fit any function.
        options.extend(match random.mostly("called", "scheduled ¦ any") {
            "called" => CALLED.to_vec(),
            "scheduled" => SCHEDULED.to_vec(),
            _ => [CALLED, SCHEDULED].concat(),
        });
    }
    let mut text = String::new();
    for (usual, odd) in options {
        if !random.once_in(3) {
            continue;
        }
        text += if !random.odd_now() {
            usual
        } else if random.once_in(8) {
            odd
        } else if random.once_in(8) {
            usual
        } else {
            random.pick(
                r##"nmae = 1 ¦ x ¦ = ¦ name ¦ log = ¦ name == 1 ¦ 1 ¦ "x" ¦ crate = bgtask ¦ log = b"x" ¦ name: 1
                  ¦ worker_threads = 0 ¦ worker_threads = 0x10usize ¦ worker_threads = 99999999999999999999999999
                  ¦ on_shutdown { } ¦ name = { a, b } ¦ name = r"raw" ¦ name = c"c" ¦ name = "äöü 🚀" ¦ self = 1
                  ¦ r#type = 1 ¦ bgtask::name = 1 ¦ grace = "1s1m" ¦ grace = 1.5 ¦ log = 'c' ¦ name = concat!("a")"##,
            )
        };
        text += random.mostly(",", "¦ ; ¦ ,,");
        text += " ";
    }
    text
}

fn ty(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.once_in(3) {
        let usual = "u8 ¦ String ¦ Job ¦ bgtask::Job ¦ ShutdownToken ¦ bgtask::ShutdownToken ¦ State<Pool> ¦ bgtask::State<Vec<T>> ¦ Self ¦ T ¦ () ¦ \
                     Token ¦ std::io::Result<()> ¦ &'static str ¦ fn(&u8) -> &u8 ¦ r#type ¦ Größe ¦ [u8; N] ¦ <T as U>::V";
        let odd = "! ¦ _ ¦ str ¦ &str ¦ &'a u8 ¦ dyn Fn() ¦ impl Sized ¦ [u8] ¦ Cow<'_, str> ¦ m!() ¦ &ShutdownToken ¦ State ¦ \
                   State<> ¦ State<'static> ¦ &State<u8> ¦ Arc<State<T, U>>";
        return random.mostly(usual, odd).to_owned();
    }
    let inner = ty(random, depth - 1);
    let usual = "Vec<#> ¦ Option<#> ¦ (#, u8) ¦ [#; { 1 + N }] ¦ Box<dyn Fn(#) -> # + Send> ¦ Arc<#> ¦ (#) ¦ Result<#, #>";
    let odd = "&# ¦ &'static mut # ¦ [#] ¦ impl Iterator<Item = #> + 'static ¦ *const # ¦ for<'b> fn(&'b #) -> # ¦ \
               dyn for<'c> Trait<#> ¦ <# as Trait<'static, { 3 }>>::Out ¦ Box<dyn Fn(#) + '_> ¦ Foo<'a, #> ¦ Bar<#: Copy>";
    let outer = random.mostly(usual, odd);
    outer.replacen('#', &inner, 1).replace('#', "u8")
}

fn parameter(random: &mut Random) -> String {
    let attribute = random.mostly(
        "¦ ¦ ¦ ¦ #[cfg(any())] ¦ #[allow(unused)]",
        r#"#[doc = "x"] ¦ #[cfg] ¦ #[cfg_attr(x, y)]"#,
    );
    let pattern = if random.odd_now() {
        // One of these has a bar of its own.
        [
            "ref by",
            "whole @ Some(_)",
            "0..=9",
            "&x",
            "a | b",
            "self",
            "m!()",
        ][random.below(7)]
    } else {
        random.pick(
            "key ¦ token ¦ mut sum ¦ _ ¦ _unused ¦ (a, b) ¦ [first, ..] ¦ Point { x, y: z } ¦ State(mut pool) ¦ r#fn ¦ größe ¦ run ¦ \
             arg1",
        )
    };
    // Now and then a type that is nested deeper than any that users write.
    let depth = if random.once_in(200) { 60 } else { 3 };
    format!("{attribute} {pattern}: {}", ty(random, depth))
}

fn function(random: &mut Random) -> String {
    let attributes = random.some(2, "\n", |random| {
        let usual = r#"/// Documented. ¦ #[allow(unused)] ¦ #[cfg(x)] ¦ #[cfg_attr(x, allow(y), must_use)] ¦ #[instrument(skip(x))] ¦
                       #[must_use] ¦ #[deprecated(note = "x")] ¦ #[track_caller] ¦ #[clippy::x]"#;
        let odd = r#"#[background] ¦ #[bgtask::background(name = "x")] ¦ #[cfg_attr(] ¦ #[a::b::c = 1] ¦ #[cfg_attr] ¦ #![x]"#;
        random.mostly(usual, odd).to_owned()
    });
    let visibility = random.mostly(
        "¦ ¦ pub ¦ pub(crate) ¦ pub(in a::b)",
        "crate ¦ default ¦ pub(x)",
    );
    let qualifiers = random.mostly(
        "async ¦ async ¦",
        r#"const ¦ unsafe ¦ async unsafe ¦ unsafe async ¦ extern "C" ¦ extern ¦ safe ¦ gen"#,
    );
    let keyword = random.mostly("fn", "struct ¦ ¦ fn fn");
    let name = random.mostly("task ¦ main ¦ r#async ¦ größe ¦ _task", "Self ¦ m! ¦ ¦ 1");
    let mut generics = String::new();
    if random.once_in(3) {
        let all = random.some(3, ", ", |random| {
            let usual = "T ¦ T: Send + 'static ¦ const N: usize ¦ #[x] U";
            let odd = "'a ¦ 'a: 'static ¦ T = u8 ¦ const N: usize = { 3 } ¦ const N";
            random.mostly(usual, odd).to_owned()
        });
        generics = format!("<{all}>");
    }
    let receiver = random.mostly(
        "¦ ¦ ¦ ¦ self, ¦ self: Arc<Self>, ¦ mut self: Box<Self>,",
        "&self, ¦ &'a mut self, ¦ self: &Self, ¦ self: _, ¦ Self,",
    );
    let parameters = random.some(3, ", ", parameter);
    let variadic = random.mostly("", "... ¦ ¦ _: ...");
    let mut output = String::new();
    if random.once_in(2) {
        output = format!("-> {}", ty(random, 2));
    }
    let clause = random.mostly(
        "¦ ¦ ¦ where T: Send, ¦ where Self: Sized",
        "where ¦ where 'a: 'b ¦ -> u8",
    );
    let statements = random.some(3, " ", |random| {
        let statements = "let a = 1; ¦ key.await?; ¦ return; ¦ fn inner() {} ¦ const X: u8 = 1; ¦ Self::new(); ¦ self.run(); ¦ \
                          T::new(); ¦ loop { break } ¦ m! { struct async } ¦ async move { self }; ¦ struct S; ¦ \
                          if false { return Err(()) } ¦ #[x] 1;";
        random.pick(statements).to_owned()
    });
    let inner = random.mostly(
        "¦ ¦ ¦ ¦ #![allow(unused)] ¦ //! Inner.",
        "#! ¦ #![ ¦ #![x] #![y(]",
    );
    let value = random.pick("¦ ¦ 1 ¦ Ok(()) ¦ loop {}");
    let body = format!("{{ {inner}\n {statements} {value} }}");
    let body = if random.odd_now() {
        random.pick("; ¦ ¦ = 1;")
    } else {
        &body
    };
    format!(
        "{attributes} {visibility} {qualifiers} {keyword} {name}{generics}({receiver} {parameters} {variadic}) {output} {clause} \
         {body}"
    )
}

fn item(random: &mut Random) -> String {
    if !random.once_in(12) {
        return function(random);
    }
    random
        .pick(
            r#"¦ struct S; ¦ pub enum E { A(fn()) } ¦ const X: fn() = main; ¦ static X: u8 = 1; ¦ impl T for U { fn f() {} } ¦
               trait T { fn f(); } ¦ mod m { fn f() {} } ¦ use a::fn_; ¦ type F = fn(); ¦
               macro_rules! m { () => { fn f() {} }; } ¦ extern "C" { fn f(); } ¦ m!(); ¦ union U { a: u8 } ¦ fn ¦ async ¦ pub ¦
               #[x] ¦ let x = 1; ¦ 1 + 1 ¦ { } ¦ extern crate x; ¦ async fn ¦ async fn task ¦ macro m() {} ¦ fn task() -> ¦
               fn task<T ¦ gen fn x() {}"#,
        )
        .to_owned()
}

/// Returns any token.
fn token(random: &mut Random) -> TokenTree {
    match random.below(8) {
        0..3 => {
            let words = "retry ¦ coalesce ¦ State ¦ fn ¦ async ¦ self ¦ Self ¦ key ¦ T ¦ pub ¦ where ¦ ShutdownToken ¦ u8 ¦ name ¦ \
                         const ¦ impl ¦ dyn ¦ mut ¦ _ ¦ extern ¦ struct ¦ return ¦ crate";
            Ident::new(random.pick(words), Span::call_site()).into()
        }
        3..6 => {
            let characters = b"<>,:;=&!#-.|'*?@$";
            let spacing = if random.once_in(2) {
                Spacing::Joint
            } else {
                Spacing::Alone
            };
            let character = characters[random.below(characters.len())];
            Punct::new(character.into(), spacing).into()
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
            Group::new(delimiters[random.below(4)], inside).into()
        }
    }
}

/// Truncates, drops, doubles, swaps, inserts and replaces some tokens, at any depth.
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
        tokens[at] = Group::new(delimiter, inside).into();
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
            // As a `macro_rules!` passes a fragment on.
            let inside = tokens[at].clone().into();
            tokens[at] = Group::new(Delimiter::None, inside).into();
        }
        _ => tokens.insert(at.min(tokens.len()), token(random)),
    }
    tokens.into_iter().collect()
}

fn input(random: &mut Random, text: fn(&mut Random) -> String) -> TokenStream {
    // Text that the lexer rejects never reaches a macro.
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

/// The kind of an attribute's output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Code,
    ErrorsAndStub,
    ErrorsAndItem,
}

fn check(
    output: TokenStream,
    item: &TokenStream,
    attribute: &str,
    has_durable: bool,
) -> Result<Output, String> {
    let has_errors = has_errors(&output);
    let Ok(function) = syn::parse2::<Function>(item.clone()) else {
        // An item that is not a function comes back as it was.
        let is_returned = output.to_string().ends_with(&item.to_string());
        return (has_errors && is_returned)
            .then_some(Output::ErrorsAndItem)
            .ok_or_else(|| "no function, and no error".to_owned());
    };
    let name = &function.signature.ident;
    let items = match syn::parse2::<syn::File>(output) {
        Ok(file) => file.items,
        // The compiler parses the body before any macro sees it, so a body that does not parse proves nothing.
        Err(_) if !has_errors && syn::parse2::<syn::ItemFn>(item.clone()).is_err() => {
            return Ok(Output::Code);
        }
        Err(error) => return Err(format!("the output does not parse: {error}")),
    };
    let found = items.iter().find_map(|item| match item {
        Item::Fn(found) if found.sig.ident == *name => Some(found),
        _ => None,
    });
    let Some(found) = found else {
        return Err(format!("no function `{name}` in the output"));
    };
    let inputs = function.signature.inputs.iter();
    let callers_pass = inputs.filter(|input| match input {
        FnArg::Receiver(_) => true,
        FnArg::Typed(typed) => {
            let is_job = is_our_job(&typed.ty) || has_durable && is_bare_job(&typed.ty);
            let is_injected =
                is_token(&typed.ty) || attribute == "background" && (is_state(&typed.ty) || is_job);
            !(is_injected || has_errors && is_token_wrapped(&typed.ty))
        }
    });
    // The stubs of the entry points take nothing.
    let takes_nothing = attribute == "test" || attribute == "main" && has_errors;
    let expected = if takes_nothing {
        0
    } else {
        callers_pass.count()
    };
    if found.sig.inputs.len() != expected {
        let parameters = found.sig.inputs.len();
        return Err(format!("{parameters} parameters, and not {expected}"));
    }
    Ok(if has_errors {
        Output::ErrorsAndStub
    } else {
        Output::Code
    })
}

fn has_errors(tokens: &TokenStream) -> bool {
    mentions(tokens.clone(), &|ident| ident == "compile_error")
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")))
}

/// Calls `run` with a source of randomness and a description for each input. Each input has its own seed, so that it does not
/// depend on those before it.
fn for_each_input(mut run: impl FnMut(&mut Random, &str)) -> u64 {
    let inputs = number("BGTASK_INPUTS").unwrap_or(4_000);
    let seed = number("BGTASK_SEED").unwrap_or(0x0062_6774_6173_6b00);
    for index in 0..inputs {
        let mut random = Random {
            rng: fastrand::Rng::with_seed(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            odd_once_in: [0, 30, 8, 2][(index % 4) as usize],
        };
        run(&mut random, &format!("seed {seed}, input {index}"));
    }
    eprintln!("seed {seed}, {inputs} inputs");
    inputs
}

#[test]
fn attributes_return_code_or_errors_with_a_stub() {
    type Attribute = fn(TokenStream, TokenStream) -> TokenStream;
    const ATTRIBUTES: [(&str, Attribute); 3] = [
        ("background", background::attribute),
        ("main", main::attribute),
        ("test", test::attribute),
    ];
    let (mut code, mut stubs, mut items) = (0_u64, 0_u64, 0_u64);
    let inputs = for_each_input(|random, input_name| {
        let (arguments, item) = (input(random, arguments), input(random, item));
        for (name, attribute) in ATTRIBUTES {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let output = attribute(arguments.clone(), item.clone());
                let options = TaskOptions::read(arguments.clone(), &mut Errors::default());
                let has_durable = options.policies.has_durable();
                check(output.clone(), &item, name, has_durable)
                    .map_err(|wrong| format!("{wrong}\noutput: {output}"))
            }));
            match outcome.unwrap_or_else(|_| Err("a panic".to_owned())) {
                Ok(Output::Code) => code += 1,
                Ok(Output::ErrorsAndStub) => stubs += 1,
                Ok(Output::ErrorsAndItem) => items += 1,
                Err(wrong) => {
                    panic!("{input_name}, {name}: {wrong}\narguments: {arguments}\nitem: {item}")
                }
            }
        }
    });
    eprintln!("{code} became code, {stubs} errors and a stub, {items} errors and the item");
    // A good part of each, or the test no longer tests anything.
    for part in [code, stubs, items] {
        assert!(part * 50 > inputs, "{code}, {stubs}, {items}");
    }
}

fn work(random: &mut Random) -> String {
    if random.odd_now() {
        return random
            .pick("¦ async ¦ move ¦ async move ¦ = ¦ a, b ¦ 1 ¦ async {} async {}")
            .to_owned();
    }
    let parameters = random.mostly(
        "|| ¦ |token| ¦ |_| ¦ |token: ShutdownToken| ¦ |State(pool): State<Pool>| ¦
         |mut token: ShutdownToken, #[cfg(x)] pool: bgtask::State<Vec<T>>,|",
        "|a, b| ¦ |key: String| ¦ |(a, b)| ¦ |token: &ShutdownToken| ¦ |a: ShutdownToken, b: ShutdownToken| ¦ | ¦ |token: | ¦
         |a: State<A>, b: State<A>, c: State<A>, d: State<A>, e: State<A>, f: State<A>, g: State<A>| ¦ |a | b|",
    );
    let block = random.mostly(
        "{ 1 } ¦ { key.await?; Ok(()) } ¦ { loop {} } ¦ { let a = b; async move { a } } ¦ { struct S; }",
        "{ , } ¦ ¦ { => } ¦ 1 ¦ { let }",
    );
    let head = random.mostly(
        "move ¦ ¦ async ¦ async move",
        "static ¦ const ¦ move async ¦ for<'a> ¦ unsafe",
    );
    let works = format!(
        "async {block} ¦ async move {block} ¦ async move {block}.boxed() ¦ {head} {parameters} {block} ¦
         {head} {parameters} async move {block} ¦ {head} {parameters} -> u8 {block} ¦ fetch(key) ¦ future ¦
         if a {{ b }} else {{ c }} ¦ Box::pin(async {{}}) ¦ a::<B, C>::d() ¦ retry(key)"
    );
    random.pick(&works).to_owned()
}

fn call(random: &mut Random) -> String {
    let group = random.mostly(
        "¦ ¦ in &group, ¦ in &self.groups[0],",
        "in ¦ in, ¦ in &, ¦ in a b,",
    );
    let name = random.mostly(
        r#""sync", ¦ "sync", ¦ NAME, ¦ Self::NAME, ¦ concat!("a", "b"), ¦ Names::<A, B>::SYNC, ¦ r"raw","#,
        r#"¦ , ¦ name, ¦ name = "sync", ¦ "" , ¦ format!("x"), ¦ 1, ¦ "sync" ¦ a b,"#,
    );
    let mut options = String::new();
    for (usual, odd) in [CALLED, OF_CALLS].concat() {
        if random.once_in(8) {
            options += if !random.odd_now() {
                usual
            } else if random.once_in(10) {
                odd
            } else {
                random.pick(
                    r#"nmae = 1 ¦ name = "x" ¦ every = "5m" ¦ on_start ¦ restart(max = 5) ¦ x ¦ = ¦ log =="#,
                )
            };
            options += random.mostly(",", "¦ ,, ¦ ;");
            options += " ";
        }
    }
    let behind = random.mostly("¦ ¦ ,", r#", timeout = "30s" ¦ ,, ¦ , async {} ¦ ;"#);
    format!("{group} {name} {options} {}{behind}", work(random))
}

#[test]
fn spawn_returns_one_expression() {
    let (mut code, mut errors) = (0_u64, 0_u64);
    let inputs = for_each_input(|random, input_name| {
        let is_regular = random.odd_once_in == 0;
        let call = input(random, call);
        let output = catch_unwind(AssertUnwindSafe(|| {
            spawn::expression(quote::quote!(::bgtask; #call))
        }));
        let Ok(output) = output else {
            panic!("{input_name}: a panic\ncall: {call}");
        };
        // Odd tokens of the user may remain in the output, where the compiler reports them. Only regular calls must become an
        // expression.
        if let Err(error) = syn::parse2::<syn::Expr>(output.clone())
            && is_regular
        {
            panic!("{input_name}: {error}\ncall: {call}\noutput: {output}");
        }
        if has_errors(&output) {
            errors += 1;
        } else {
            code += 1;
        }
    });
    eprintln!("{code} became code, {errors} errors");
    for part in [code, errors] {
        assert!(part * 10 > inputs, "{code}, {errors}");
    }
}
