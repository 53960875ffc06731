//! Names beyond ASCII.
use bgtask::background;

#[background]
async fn größe(länge: u32, höhe: u32) -> u32 {
    länge * höhe
}

#[background(name = "数える 🚀")]
fn 数える(文字列: String) -> usize {
    文字列.chars().count()
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(größe(2, 3).await, Ok(6));
        assert_eq!(größe(2, 3).name(), "pass::hygiene::unicode::größe");
        let handle = 数える("日本".into());
        assert_eq!(handle.name(), "数える 🚀");
        assert_eq!(handle.await, Ok(2));
    });
}
