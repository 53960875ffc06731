use super::codec::{Arguments, Encoder};
use super::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Order {
    items: Vec<String>,
    total: i128,
}

fn order() -> Order {
    Order {
        items: vec!["a \"quoted\" \\u0000 text".to_owned(), "…".to_owned()],
        total: i128::MAX,
    }
}

#[test]
fn arguments_survive_the_store() {
    let mut encoder = Encoder::default();
    encoder.add("order", &order());
    encoder.add("copies", &2_u8);
    let encoded = encoder.finish().expect("the arguments encode");
    let mut arguments = Arguments::new(&encoded).expect("an object");
    assert_eq!(arguments.take::<u8>("copies"), Ok(2));
    assert_eq!(arguments.take::<Order>("order"), Ok(order()));
}

#[test]
fn a_missing_or_wrong_argument_is_named() {
    let mut encoder = Encoder::default();
    encoder.add("copies", &"two");
    let encoded = encoder.finish().expect("the arguments encode");
    let mut arguments = Arguments::new(&encoded).expect("an object");
    let wrong = arguments
        .take::<u8>("copies")
        .expect_err("a text is no number");
    assert!(
        wrong
            .0
            .starts_with("the argument `copies` does not decode: "),
        "{wrong:?}"
    );
    let missing = arguments.take::<u8>("page").expect_err("there is none");
    assert_eq!(missing.0, "the job has no argument `page`");
}

#[test]
fn what_no_database_stores_is_an_error_at_the_call() {
    let mut encoder = Encoder::default();
    encoder.add("text", &"a\0b");
    assert_eq!(
        encoder.finish().expect_err("a NUL"),
        EnqueueError::Nul { parameter: "text" }
    );

    let mut encoder = Encoder::default();
    encoder.add("map", &BTreeMap::from([((1, 2), 3)]));
    encoder.add("after", &1);
    let error = encoder.finish().expect_err("keys are strings in JSON");
    assert!(matches!(
        error,
        EnqueueError::Encode {
            parameter: "map",
            ..
        }
    ));
}

#[test]
fn states_have_one_word_everywhere() {
    for state in JobState::ALL {
        let json = serde_json::to_string(&state).expect("a word");
        assert_eq!(json, format!("\"{state}\""));
    }
}

#[test]
fn an_id_is_found_again_by_its_text() {
    let id = JobId::new(42);
    assert_eq!(id.to_string().parse(), Ok(id));
    assert!("forty-two".parse::<JobId>().is_err());
}
