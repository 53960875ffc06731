use bgtask::background;

struct NotHash;

#[background(concurrency(max = 1, key = user.id))]
async fn no_such_field(user: (u32, u32)) {
    drop(user)
}

#[background(rate(limit = "1/s", key = value))]
async fn cannot_be_hashed(value: NotHash) {
    drop(value)
}

#[background(coalesce(key))]
async fn no_key(key: String) {
    drop(key)
}

fn main() {
    no_such_field((1, 2));
    cannot_be_hashed(NotHash);
    no_key(String::new());
}
