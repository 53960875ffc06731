use bgtask::spawn;

struct Connection;

impl Connection {
    fn send(&self) -> Result<(), String> {
        Ok(())
    }
}

fn main() {
    let connection = Connection;
    spawn!("sync", retry(max = 3), async move { connection.send() });
    let connection = Connection;
    spawn!("sync", retry(max = 3), move |token| async move {
        drop(token);
        connection.send()
    });
    let connection = Connection;
    spawn!("sync", retry(max = 3), move || connection.send());
}
