use bgtask::background;

struct Order(u32);

#[background(retry(max = 3))]
async fn send(order: Order, urgent: bool) -> Result<u32, String> {
    Ok(order.0 + u32::from(urgent))
}

#[background(retry(max = 3))]
fn send_blocking<T: Send + 'static>(order: T) -> Result<(), String> {
    drop(order);
    Ok(())
}

fn main() {
    send(Order(1), true);
    send_blocking(1);
}
