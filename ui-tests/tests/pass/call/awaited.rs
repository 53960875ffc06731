//! The handle as the future it is.
use bgtask::{TaskError, TaskHandle, background};
use std::pin::pin;

#[background]
async fn task(number: u32) -> Result<u32, std::fmt::Error> {
    Ok(number)
}

async fn with_question_marks() -> Result<u32, Box<dyn std::error::Error>> {
    Ok(task(1).await?? + task(2).await??)
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(with_question_marks().await.unwrap(), 3);
        let (one, two) = tokio::join!(task(1), task(2));
        assert_eq!((one, two), (Ok(Ok(1)), Ok(Ok(2))));
        let handle: TaskHandle<Result<u32, std::fmt::Error>> = task(3);
        let mut handle = pin!(handle);
        let output: Result<Result<u32, _>, TaskError> =
            tokio::select! { output = &mut handle => output };
        assert_eq!(output, Ok(Ok(3)));
    });
}
