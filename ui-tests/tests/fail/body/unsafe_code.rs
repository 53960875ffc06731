#![forbid(unsafe_code)]

#[bgtask::background]
async fn task(bytes: Vec<u8>) -> String {
    unsafe { String::from_utf8_unchecked(bytes) }
}

fn main() {
    task(vec![]);
}
