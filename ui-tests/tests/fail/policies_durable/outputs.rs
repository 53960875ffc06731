use bgtask::background;

struct Plain;

#[background(durable)]
async fn returns_what_is_not_stored() -> Plain {
    Plain
}

#[background(durable)]
async fn returns_a_result_of_it() -> Result<Plain, String> {
    Ok(Plain)
}

// The error needs neither.
#[background(durable)]
async fn returns_an_error() -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    Ok(1)
}

fn main() {}
