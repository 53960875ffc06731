#[bgtask::background]
const fn constant() {}

#[bgtask::background]
extern "C" fn external() {}

#[bgtask::background]
unsafe extern "C" fn variadic(_: ...) {}

fn main() {
    constant();
    external();
}
