//! Free functions of every shape.
use bgtask::{ShutdownToken, TaskHandle, background};
use std::collections::HashMap;
use std::fmt::Display;

#[background]
async fn no_parameters() {}

#[background]
fn plain(number: u32) -> u32 {
    number
}

#[background()]
async fn no_options() {}

#[background]
async fn token_first(_token: ShutdownToken, key: String) -> String {
    key
}

#[background]
async fn token_last(key: String, mut token: bgtask::ShutdownToken) -> String {
    token = token.clone();
    drop(token);
    key
}

#[background]
fn token_in_the_middle(a: u32, token: ShutdownToken, b: u32) -> bool {
    a == b || token.is_cancelled()
}

#[background]
async fn patterns((a, b): (u32, u32), mut sum: u32, _: String, [c, ..]: [u32; 2]) -> u32 {
    sum += a + b + c;
    sum
}

#[background]
async fn generic<T, const N: usize>(values: [T; N]) -> usize
where
    T: Display + Send + 'static,
{
    values.iter().map(|value| value.to_string().len()).sum()
}

trait Job: Send + 'static {
    const NUMBER: u32;
}
struct Clean;
impl Job for Clean {
    const NUMBER: u32 = 7;
}

#[background]
async fn told_by_turbofish<J: Job>() -> u32 {
    J::NUMBER
}

#[background]
async fn impl_trait(name: impl Into<String> + Send + 'static, each: impl Fn(&str) -> usize + Send + 'static) -> usize {
    each(&name.into())
}

#[background]
fn borrows_for_a_call(
    call: Box<dyn Fn(&str) -> usize + Send>,
    pointer: fn(&str) -> &str,
    all: Box<dyn for<'a> Fn(&'a str) -> &'a str + Send + 'static>,
    fixed: &'static str,
    map: HashMap<&'static str, Vec<u8>>,
) -> usize {
    call(pointer(all(fixed))) + map.len()
}

#[background]
async fn question_mark_and_return(text: String) -> Result<u32, std::num::ParseIntError> {
    if text.is_empty() {
        return Ok(0);
    }
    Ok(text.parse::<u32>()?)
}

#[background]
async fn recursive(left: u32) {
    if left > 0 {
        let another: TaskHandle<()> = recursive(left - 1);
        drop(another);
    }
}

#[background(name = "a name", log = "off", on_shutdown = "cancel")]
async fn every_option() {}

#[background]
async fn r#type(r#fn: u32) -> u32 {
    r#fn
}

mod visibilities {
    pub mod inner {
        #[bgtask::background]
        pub async fn public() {}
        #[bgtask::background]
        pub(crate) async fn of_the_crate() {}
        #[bgtask::background]
        pub(super) async fn of_the_parent() {}
    }
    pub fn call() {
        inner::of_the_parent();
    }
}

fn main() {
    let _ = || {
        #[background]
        async fn inside_a_function(number: u8) -> u8 {
            number
        }
        let handles: (TaskHandle<()>, TaskHandle<u32>) = (no_parameters(), plain(1));
        no_options();
        token_first("key".into());
        token_last("key".into());
        token_in_the_middle(1, 2);
        patterns((1, 2), 3, String::new(), [4, 5]);
        generic([1, 2, 3]);
        told_by_turbofish::<Clean>();
        impl_trait("name", |name: &str| name.len());
        borrows_for_a_call(Box::new(|text| text.len()), |text| text, Box::new(|text| text), "", HashMap::new());
        question_mark_and_return("1".into());
        recursive(3);
        every_option();
        r#type(1);
        visibilities::inner::public();
        visibilities::inner::of_the_crate();
        visibilities::call();
        inside_a_function(1);
        handles
    };
}
