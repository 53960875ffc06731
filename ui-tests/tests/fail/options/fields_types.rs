struct Order {
    id: u8,
}

#[bgtask::background(fields(order))]
async fn not_plain(order: Order) {}

#[bgtask::background(fields(%order))]
async fn not_display(order: Order) {}

#[bgtask::background(fields(?order))]
async fn not_debug(order: Order) {}

#[bgtask::background(fields(card = redact(order)))]
async fn not_display_to_redact(order: Order) {}

#[bgtask::background(fields(order.number = order.number))]
async fn no_such_field(order: Order) {}

#[bgtask::background(fields(oder))]
async fn no_such_parameter(order: Order) {}

#[bgtask::background(every = "5m", fields(pool))]
async fn a_state_of_a_schedule(pool: bgtask::State<u8>) {}

fn main() {}
