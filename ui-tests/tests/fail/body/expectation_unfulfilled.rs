#![deny(unfulfilled_lint_expectations)]

#[bgtask::background]
#[expect(unused_variables)]
async fn task(number: u32) {
    drop(vec![number]);
}

fn main() {
    task(1);
}
