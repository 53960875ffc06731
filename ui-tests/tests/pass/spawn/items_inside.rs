//! Items in the work and beside it.
use bgtask::spawn;

#[test]
fn runs() {
    crate::run(async {
        fn double(number: u8) -> u8 {
            number * 2
        }
        let handle = spawn!("with items", async {
            const THREE: u8 = 3;
            struct Local(u8);
            impl Local {
                fn number(&self) -> u8 {
                    self.0
                }
            }
            double(Local(THREE).number())
        });
        assert_eq!(handle.await, Ok(6));
    });
}
