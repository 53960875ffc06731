#[bgtask::background]
async fn task<'a, 'b: 'a, T: 'a>(key: Vec<&'b T>)
where
    T: Send,
{
}

fn main() {
    task::<u8>(vec![]);
}
