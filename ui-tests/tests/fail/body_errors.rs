// What is wrong in a body is said there.
#[bgtask::background]
async fn wrong_type() -> u32 {
    "text"
}

#[bgtask::background]
async fn missing_return(number: u32) -> String {
    if number > 0 {
        return 1;
    }
    undefined
}

fn main() {
    wrong_type();
    missing_return("text");
}
