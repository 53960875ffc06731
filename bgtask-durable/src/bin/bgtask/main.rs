//! The program `bgtask`: runs one command and says by its exit code how that went.
//! Must never know how a command works, nor a database.

mod arguments;
mod change;
mod connect;
mod doctor;
mod failure;
mod jobs;
mod maintain;
mod output;
mod overview;
mod queue;
mod schedule;
mod table;

use arguments::{Arguments, Command};
use clap::CommandFactory as _;
use connect::Connector;
use failure::Failure;
use output::Output;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Arguments { url, json, command } = Arguments::of_process();
    let mut output = Output::new(json);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(command, &Connector::new(url), &mut output)),
        Err(error) => Err(Failure::Failed(format!(
            "no runtime: {error}; let the process have more files or threads"
        ))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

async fn run(command: Command, connector: &Connector, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Status => overview::status(&connector.open().await?, output).await,
        Command::Queues => overview::queues(&connector.open().await?, output).await,
        Command::Workers(watch) => {
            overview::workers(&connector.open().await?, watch.wait, output).await
        }
        Command::Schedules(which) => match which.act {
            None => overview::schedules(&connector.open().await?, output).await,
            Some(act) => schedule::act(&connector.open().await?, act, output).await,
        },
        Command::Jobs(which) => jobs::list(&connector.open().await?, which, output).await,
        Command::Job(one) => jobs::show(&connector.open().await?, one, output).await,
        Command::Retry(which) => change::retry(&connector.open().await?, which, output).await,
        Command::Cancel(ids) => change::cancel(&connector.open().await?, &ids.ids, output).await,
        Command::Edit(which) => change::edit(&connector.open().await?, &which, output).await,
        Command::Delete(ids) => change::delete(&connector.open().await?, &ids.ids, output).await,
        Command::Pause(queues) => queue::pause(&connector.open().await?, queues, output).await,
        Command::Resume(queues) => queue::resume(&connector.open().await?, queues, output).await,
        Command::Prune => maintain::prune(&connector.open().await?, output).await,
        Command::Migrate(how) => maintain::migrate(connector, how.create, output).await,
        Command::Doctor(watch) => doctor::examine(connector, watch.wait, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "bgtask", &mut script);
            output.raw(&script)
        }
    }
}
