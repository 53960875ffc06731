//! The notifications of an order: an e-mail to the customer, a webhook to the partner. Knows nothing of the web or the database.

use crate::order::Order;
use bgtask::durable::Notify;
use bgtask_durable::{Email, Webhook};
use std::env;

/// Returns the targets that the end of a receipt is delivered to: none without a mail server and the URL of a partner.
pub(crate) fn followers(order: &Order, customer: &str) -> Notify {
    let email = (!customer.is_empty() && env::var_os("BGTASK_SMTP_URL").is_some()).then(|| {
        // No template contains text of the customer: the engine would evaluate a `{{` in it.
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
