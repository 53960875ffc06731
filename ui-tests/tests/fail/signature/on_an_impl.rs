struct Service;

#[bgtask::background]
impl Service {
    fn method(&self) {}
}

fn main() {
    Service.method();
}
