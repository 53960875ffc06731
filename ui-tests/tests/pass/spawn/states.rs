//! States, before and behind the token, and with policies.
use bgtask::{ShutdownToken, State, spawn};

#[derive(Clone)]
struct Pool(u8);

#[derive(Clone)]
struct Client(u8);

#[test]
fn runs() {
    crate::run(async {
        bgtask::provide(Pool(1));
        bgtask::provide(Client(2));
        let added = 3;
        let sum = spawn!("makes", move |State(pool): State<Pool>| async move {
            pool.0 + added
        });
        assert_eq!(sum.await, Ok(4));
        let sum = spawn!(
            "blocks",
            |pool: State<Pool>, token: ShutdownToken, client: State<Client>| {
                drop(token);
                pool.0.0 + client.0.0
            }
        );
        assert_eq!(sum.await, Ok(3));
        let sum = spawn!(
            "again",
            retry(max = 2),
            async move |token: ShutdownToken, State(mut pool): State<Pool>| {
                pool.0 += u8::from(token.is_cancelled()) + added;
                Ok::<_, String>(pool.0)
            }
        );
        assert_eq!(sum.await, Ok(Ok(4)));
    });
}
