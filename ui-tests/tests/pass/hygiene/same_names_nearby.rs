//! A function, a module, a macro and a type of one name.
use bgtask::background;

mod task {
    #[bgtask::background]
    pub async fn task() -> u32 {
        1
    }
}

macro_rules! task {
    () => {
        task()
    };
}

#[background]
async fn task() -> u32 {
    2
}

struct Task;

impl Task {
    #[background]
    async fn task() -> u32 {
        task!().await.unwrap_or(0) + 1
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(
            (task::task().await, task!().await, Task::task().await),
            (Ok(1), Ok(2), Ok(3))
        )
    });
}
