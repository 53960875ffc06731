use bgtask::testing;

async fn refresh(key: String) {
    drop(key);
}

fn plain(key: String) -> usize {
    key.len()
}

struct Mailer;

impl Mailer {
    fn send(&self) {}
}

async fn functions() {
    testing::assert_called(refresh, 1);
    testing::started(plain).await;
    testing::expect_error(Mailer::send);
}

fn main() {}
