//! Under names that could clash.
use bgtask::spawn;

#[allow(dead_code)]
static __BGTASK_HANDLER: u8 = 1;
#[allow(dead_code)]
static __BGTASK_POLICIES: u8 = 1;

#[allow(dead_code)]
mod core {}
#[allow(dead_code)]
mod std {}

#[derive(Clone)]
struct State(u8);

#[test]
fn runs() {
    crate::run(async {
        let (probe, work, token, keys, handler, run, part0, part1) = (1, 2, 3, 4, 5, 6, 7, 8);
        let state0 = State(9);
        let sum = spawn!("plain", async move {
            probe + work + token + keys + handler + run + part0 + part1 + state0.0
        });
        assert_eq!(sum.await, Ok(45));
        let state0 = State(9);
        let sum = spawn!(
            "with policies",
            retry(when = move |error| *error == probe),
            coalesce(key = (probe, work, keys)),
            async move {
                if work == 0 {
                    return Err(probe);
                }
                Ok(probe + work + token + keys + handler + run + part0 + part1 + state0.0)
            }
        );
        assert_eq!(sum.await, Ok(Ok(45)));
        assert_eq!(
            spawn!("named like a static of ours", async {
                __BGTASK_HANDLER + __BGTASK_POLICIES
            })
            .await,
            Ok(2)
        );
    });
}
