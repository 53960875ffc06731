#[bgtask::main(flavour = "multi_thread", grace = "soon")]
unsafe fn start<T>(number: u32) -> ! {}

fn main() {}
