use bgtask::spawn;

fn main() {
    spawn!("sync", retry(when = |error| error.is_empty()), async { 1 });
    spawn!("sync", retry(when = |error: &u8| *error == 1), async { Err::<(), String>(String::new()) });
}
