macro_rules! task {
    () => {
        fn task() {}
    };
}

#[bgtask::background]
task!();

fn main() {}
