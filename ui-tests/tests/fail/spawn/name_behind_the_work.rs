use bgtask::spawn;

fn main() {
    spawn!(async move {}, "sync");
    spawn!(async move {}, name = "sync");
    spawn!(move |token| async move { drop(token) }, "sync");
    spawn!(in &bgtask::Group::new(), || (), "sync");
}
