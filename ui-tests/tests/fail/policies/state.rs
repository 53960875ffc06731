use bgtask::{State, background};

struct NotClone;

#[background]
async fn cannot_be_cloned(State(state): State<NotClone>, key: String) {
    drop((state, key))
}

#[background]
async fn behind_a_reference(state: &State<u32>) {
    drop(state)
}

fn main() {
    cannot_be_cloned(String::new());
}
