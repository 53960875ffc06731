#[bgtask::background]
pub struct Structure {
    pub field: fn(),
}

fn main() {
    let _ = Structure { field: main };
}
