use bgtask::spawn;

fn main() {
    spawn!(1, async {});
    spawn!(String::new(), async {});
}
