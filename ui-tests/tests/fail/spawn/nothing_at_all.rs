use bgtask::spawn;

fn main() {
    spawn!();
}
