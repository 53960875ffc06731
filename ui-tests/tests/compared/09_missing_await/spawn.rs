//! An `.await` forgotten in the body
async fn number() -> u32 {
    1
}

async fn task() -> u32 {
    number() + 1
}

fn main() {
    tokio::spawn(task());
}
