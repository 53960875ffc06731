use bgtask::{background, testing};

#[background]
async fn refresh<T: Send + 'static>(key: T) {
    drop(key);
}

async fn functions() {
    testing::assert_not_called(refresh);
}

fn main() {}
