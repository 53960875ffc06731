// Without a receiver an attribute cannot see the `impl`; `T` it would have guessed.
struct Queue<Item>(Item);

impl<Item: Send + 'static> Queue<Item> {
    #[bgtask::background]
    async fn push(item: Item) {
        drop(item);
    }
}

fn main() {
    Queue::<u8>::push(1);
}
