use bgtask::background;

struct Page(String);

#[background(coalesce)]
async fn joins() -> Page {
    Page(String::new())
}

#[background(coalesce(policy = "trailing"))]
async fn trails() -> Result<Page, std::io::Error> {
    Ok(Page(String::new()))
}

// Nothing is shared here.
#[background(coalesce(policy = "skip"))]
async fn skips() -> Page {
    Page(String::new())
}

fn main() {
    joins();
    trails();
    skips();
}
