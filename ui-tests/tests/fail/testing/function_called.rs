use bgtask::{background, testing};

#[background]
async fn refresh(key: String) {
    drop(key);
}

async fn functions() {
    testing::assert_called(refresh("home".to_owned()), 1);
    testing::started(7).await;
}

fn main() {}
