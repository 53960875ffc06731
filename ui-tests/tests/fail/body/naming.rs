#![deny(nonstandard_style)]

#[bgtask::background]
async fn camelCase(someParameter: u32) {
    let aVariable = someParameter;
    drop(vec![aVariable]);
}

fn main() {
    camelCase(1);
}
