//! An operator's panel: the stop, the enabling switch, the reset button and the instruction, as a peer of its
//! own. Silence of a panel is for the runtime to notice.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use reflexarc_drivers::msg::{BoolMsg, StringMsg};
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Clock, Link, Publisher, ZenohConfig};

/// The publishers of a panel, with their session.
pub struct Panel {
    link: Link,
    estop: Publisher<BoolMsg>,
    enable: Publisher<BoolMsg>,
    reset: Publisher<BoolMsg>,
    instruction: Publisher<StringMsg>,
}

impl Panel {
    /// A panel on a zenoh session that listens on `listen`.
    ///
    /// # Errors
    /// When the session cannot be opened, for instance because the port is taken.
    pub fn open(listen: &str, clock: &Clock) -> Result<Self> {
        let config = ZenohConfig {
            listen: vec![listen.to_owned()],
            node: "panel".to_owned(),
            ..ZenohConfig::default()
        };
        Self::on(Link::zenoh(config, clock.clone()).context("the operator's peer")?)
    }

    /// A panel on a link that is there already.
    ///
    /// # Errors
    /// When the link refuses a publisher.
    pub fn on(link: Link) -> Result<Self> {
        let topics = Topics::new("");
        Ok(Self {
            estop: link.publisher(&topics.estop)?,
            enable: link.publisher(&topics.enable)?,
            reset: link.publisher(&topics.reset)?,
            instruction: link.publisher(&topics.instruction)?,
            link,
        })
    }

    /// Where the panel can be reached.
    #[must_use]
    pub fn locators(&self) -> &[String] {
        self.link.locators()
    }

    /// The positions of the stop and of the enabling switch; to be repeated at 10 Hz or more.
    ///
    /// # Errors
    /// When the link has gone.
    pub fn say(&self, estop: bool, enable: bool) -> Result<()> {
        self.estop.put(&BoolMsg { data: estop })?;
        self.enable.put(&BoolMsg { data: enable })?;
        Ok(())
    }

    /// Presses the reset button once.
    ///
    /// # Errors
    /// When the link has gone.
    pub fn reset(&self) -> Result<()> {
        Ok(self.reset.put(&BoolMsg { data: true })?)
    }

    /// Tells the robot what to do.
    ///
    /// # Errors
    /// When the link has gone.
    pub fn instruct(&self, words: &str) -> Result<()> {
        Ok(self.instruction.put(&StringMsg::new(words))?)
    }
}

/// An operator's panel by itself: repeats `estop` = false and `enable` = true at 20 Hz until it is killed.
#[derive(Debug, Parser)]
pub struct PanelArgs {
    /// Where it listens.
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp/127.0.0.1:7449")]
    listen: String,
}

/// The program `panel`.
///
/// # Errors
/// When the session cannot be opened, or has gone.
#[expect(clippy::print_stdout, reason = "it tells where it can be reached")]
pub fn attend(args: &PanelArgs) -> Result<u8> {
    let panel = Panel::open(&args.listen, &Clock::system())?;
    println!("{}", panel.locators().join(" "));
    loop {
        panel.say(false, true)?;
        std::thread::sleep(Duration::from_millis(50));
    }
}
