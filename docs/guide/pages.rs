//! Compiles the Rust blocks of the guide's pages, and runs those that end by themselves. A test of `bgtask-tests` checks that no page
//! is missing here.

#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

macro_rules! pages {
    ($($page:ident = $file:literal,)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("src/", $file))]
            mod $page {}
        )*
    };
}

pages! {
    introduction = "introduction.md",
    send_webhooks = "send-webhooks.md",
    refresh_a_cache = "refresh-a-cache.md",
    run_nightly = "run-nightly.md",
    call_a_partner = "call-a-partner.md",
    work_after_the_answer = "work-after-the-answer.md",
    configure_it = "configure-it.md",
    survive_a_restart = "survive-a-restart.md",
    tell_who_waits = "tell-who-waits.md",
    test_it = "test-it.md",
    deploy_it = "deploy-it.md",
}
