#[bgtask::background]
type Call = fn();

fn main() {
    let _: Call = main;
}
