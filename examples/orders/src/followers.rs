//! What follows the end of an order: an e-mail to the customer, a webhook to the partner. Knows nothing of the web or the database.

use crate::order::Order;
use bgtask::durable::Notify;
use bgtask_durable::{Email, Webhook};
use std::env;

/// Returns what follows the receipt of an order. Without a mail server, and without the URL of a partner, nothing does.
pub(crate) fn followers(order: &Order, customer: &str) -> Notify {
    let email = (!customer.is_empty() && env::var_os("BGTASK_SMTP_URL").is_some()).then(|| {
        // What a customer has written is in none of these templates: `{{` in it would be one.
        Email::to(customer)
            .subject("Your receipt is {{ state }}")
            .template(format!(
                "{{% if state == 'done' %}}The receipt of order {id} is there.{{% else %}}We could not send the receipt of order {id}: \
                 {{{{ error }}}}{{% endif %}}\n",
                id = order.id
            ))
    });
    let partner = env::var("PARTNER_URL").ok();
    let partner = partner.map(|url| Webhook::to(format!("{url}/{}", order.id)));
    (email, partner).into()
}
