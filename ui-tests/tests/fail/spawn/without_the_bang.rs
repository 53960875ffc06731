fn main() {
    bgtask::spawn("sync", async {});
}
