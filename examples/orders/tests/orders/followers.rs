//! What follows a receipt: an e-mail in a mailbox, and a webhook that the partner verifies.

use crate::shop::{Database, orders};
use crate::smtp::Mailbox;
use crate::{has_begun, is_done};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A partner, which prints each order that it has verified.
struct Partner {
    process: Child,
    lines: BufReader<ChildStdout>,
    address: String,
}

impl Partner {
    fn start() -> Self {
        let mut command = orders();
        command.arg("partner").env("BGTASK_WEBHOOK_SECRET", SECRET);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        let address = String::new();
        let mut partner = Self {
            process,
            lines,
            address,
        };
        let line = partner.line();
        partner.address = line
            .strip_prefix("listening on http://")
            .expect(&line)
            .to_owned();
        partner
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Posts what is not signed, and returns the status.
    fn forge(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = r#"{"type":"job.done"}"#;
        let request = format!(
            "POST /orders/forged HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nwebhook-id: 1\r\n\
             webhook-timestamp: 1\r\nwebhook-signature: v1,AAAA\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_customer_gets_an_e_mail_and_the_partner_a_webhook_although_the_shop_is_killed() {
    let Some(mut mailbox) = Mailbox::start(0) else {
        return;
    };
    for database in Database::each() {
        let mut partner = Partner::start();
        assert_eq!(partner.forge(), "401");
        let command = || -> Command {
            let mut command = orders();
            command
                .env("BGTASK_SMTP_URL", mailbox.url())
                .env("BGTASK_EMAIL_FROM", "Shop <shop@example.com>")
                .env("BGTASK_WEBHOOK_SECRET", SECRET)
                .env("BGTASK_WEBHOOK_ALLOW", "127.0.0.1")
                .env("PARTNER_URL", format!("http://{}/orders", partner.address));
            command
        };
        let shop = database.shop_as(command());
        let wrong = shop.post_order("item=Tea&quantity=1&email=ann%0D%0ABcc:eve@example.com");
        assert_eq!(wrong.status, 400, "{}", wrong.body);
        let path = shop.place_order("item=Tea&quantity=1&email=ann@example.com");
        let id = path.strip_prefix("/orders/").expect(&path);
        shop.wait_until(&path, has_begun);
        shop.kill();
        let shop = database.shop_as(command());
        shop.wait_until(&path, is_done);
        assert_eq!(partner.line(), format!("{id}: job.done"));
        let mail = mailbox.next();
        assert_eq!(mail.to, ["ann@example.com"]);
        assert_eq!(mail.from, "shop@example.com");
        assert_eq!(mail.header("Subject"), "Your receipt is done");
        assert!(
            mail.text()
                .contains(&format!("The receipt of order {id} is there.")),
            "{}",
            mail.text()
        );
    }
}
