//! Lifetimes that belong to a call of the argument, or to nothing.
use bgtask::background;
use std::borrow::Cow;
use std::collections::HashMap;

#[background]
fn task(
    call: Box<dyn Fn(&str) -> usize + Send>,
    pointer: fn(&str) -> &str,
    all: Box<dyn for<'a> Fn(&'a str) -> &'a str + Send + 'static>,
    fixed: &'static str,
    map: HashMap<&'static str, Vec<u8>>,
    cow: Cow<'static, str>,
) -> usize {
    call(pointer(all(fixed))) + map.len() + cow.len()
}

#[background]
async fn gives_back(text: &'static str) -> &'static str {
    text
}

#[test]
fn runs() {
    crate::run(async {
        let task = task(
            Box::new(str::len),
            str::trim,
            Box::new(|text| text),
            " four ",
            HashMap::new(),
            "cow".into(),
        );
        assert_eq!(task.await, Ok(7));
        assert_eq!(gives_back("text").await, Ok("text"));
    });
}
