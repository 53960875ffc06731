// Without a receiver, an attribute cannot see the `impl`. With one, it would have guessed `T`.
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
