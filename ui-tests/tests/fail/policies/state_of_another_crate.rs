use bgtask::{background, spawn};

mod axum {
    pub mod extract {
        #[derive(Clone)]
        pub struct State<S>(pub S);
    }
}
use axum::extract::State;

#[background]
async fn task(State(number): State<u32>) -> u32 {
    number
}

fn main() {
    task();
    spawn!("a block", |State(number): State<u32>| number);
}
