//! One pool over many nodes: how long until the last node carries its keys, how many writes that took, and how much
//! memory the manager keeps; beside a bare client that sends the same patches with the same concurrency.

mod bare;
mod fleet;
mod product;

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use stowage_api::NodePool;

use self::{
    fleet::{Fleet, Outfit},
    product::Product,
};
use crate::{Outcome, Verdict, tell};

/// The product may take this many times as long as the bare client.
const RATIO_LIMIT: f64 = 1.2;
/// A node is written once for a change.
const WRITES_LIMIT: f64 = 1.0;
/// Memory that the manager may keep, in MiB: 60 MB.
const RSS_LIMIT: f64 = 60e6 / 1_048_576.0;
/// Bytes that a status may have.
const STATUS_LIMIT: usize = 2048;

#[derive(Args, Debug)]
pub(super) struct Settings {
    /// How many nodes the pool has.
    #[arg(long)]
    nodes: u32,
    /// How many pairs of runs are measured, after one that is not.
    #[arg(long)]
    pairs: u16,
    /// The product's program.
    #[arg(long, value_name = "FILE")]
    stowage: PathBuf,
    /// An administrator's kubeconfig.
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
}

/// A run of the product.
#[derive(Clone, Copy, Debug)]
struct Run {
    took: Duration,
    /// Writes per node.
    writes: f64,
    /// Memory of the manager in MiB, with all nodes done, and the most that it had.
    rss: f64,
    rss_peak: f64,
}

/// One pair of runs.
#[derive(Clone, Copy, Debug)]
struct Pair {
    product: Run,
    bare: Duration,
}

/// What all pairs come to.
#[derive(Debug)]
struct Figures {
    ratio: f64,
    writes: f64,
    rss: f64,
    rss_peak: f64,
    status: usize,
}

/// What a run needs.
struct Ground<'a> {
    settings: &'a Settings,
    client: Client,
    fleet: Fleet,
}

/// Runs the pairs, the product first in every other one.
pub(super) async fn run(settings: &Settings) -> Outcome<Verdict> {
    let kubeconfig = Kubeconfig::read_from(&settings.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    tell(&format!("{} nodes are made", settings.nodes))?;
    let fleet = Fleet::launch(client.clone(), settings.nodes).await?;
    let ground = Ground { settings, client, fleet };

    // Not measured: it warms both sides up, and shows what the patches are.
    let (_, outfit, status) = ground.product().await?;
    tell("pair   product s    bare s   ratio   bare patches/s   writes/node   RSS MiB")?;
    let mut pairs = Vec::new();
    for number in 1..=settings.pairs {
        let pair = ground.measure(number, &outfit).await?;
        tell(&row(number, &pair, settings.nodes))?;
        pairs.push(pair);
    }
    conclude(&Figures::of(&pairs, status))
}

impl Ground<'_> {
    async fn measure(&self, number: u16, outfit: &Outfit) -> Outcome<Pair> {
        let bare_first = number.is_multiple_of(2);
        let early = if bare_first { Some(run_bare(&self.fleet, outfit).await?) } else { None };
        let (product, _, _) = self.product().await?;
        let bare = match early {
            Some(bare) => bare,
            None => run_bare(&self.fleet, outfit).await?,
        };
        Ok(Pair { product, bare })
    }

    /// A manager that runs for this run only: beside the bare client nothing else shall work. Returns too what the first
    /// node carries of the pool's, and how many bytes the status has.
    async fn product(&self) -> Outcome<(Run, Outfit, usize)> {
        let Self { settings, client, fleet } = self;
        let product = Product::start(&settings.stowage, &settings.kubeconfig, client.clone()).await?;
        // From the moment before the pool is created to the last node that carries its keys.
        let start = fleet.begin();
        product.create_pool().await?;
        let took = fleet.all_dressed().await?.duration_since(start);
        product.pool_is_ready().await?;
        let (writes, outfit, status) = (fleet.writes_per_node(), fleet.outfit()?, status_size(client).await?);
        let (rss, rss_peak) = product.memory()?;
        product.delete_pool().await?;
        fleet.all_plain().await?;
        product.pool_is_gone().await?;
        Ok((Run { took, writes, rss, rss_peak }, outfit, status))
    }
}

async fn run_bare(fleet: &Fleet, outfit: &Outfit) -> Outcome<Duration> {
    let start = fleet.begin();
    bare::dress(fleet, outfit).await?;
    let took = fleet.all_dressed().await?.duration_since(start);
    bare::undress(fleet, outfit).await?;
    fleet.all_plain().await?;
    Ok(took)
}

async fn status_size(client: &Client) -> Outcome<usize> {
    let pool = Api::<NodePool>::all(client.clone()).get(product::POOL).await?;
    Ok(serde_json::to_vec(&pool.status)?.len())
}

fn row(number: u16, pair: &Pair, nodes: u32) -> String {
    let Pair { product: Run { took, writes, rss, .. }, bare } = pair;
    format!(
        "{number:>4}   {:>9.2} {:>9.2}   {:>5.3}   {:>14.0}   {writes:>11.3}   {rss:>7.1}",
        took.as_secs_f64(),
        bare.as_secs_f64(),
        pair.ratio(),
        f64::from(nodes) / bare.as_secs_f64(),
    )
}

fn conclude(figures: &Figures) -> Outcome<Verdict> {
    let Figures { ratio, writes, rss, rss_peak, status } = figures;
    tell(&format!(
        "\nmedian ratio {ratio:.3} (aim {RATIO_LIMIT}); at most {writes:.3} writes per node (aim {WRITES_LIMIT}); \
         manager {rss:.1} MiB settled (aim {RSS_LIMIT:.1}), {rss_peak:.1} MiB at most; status {status} bytes (aim under \
         {STATUS_LIMIT})"
    ))?;
    tell(&format!(
        "ratio={ratio:.3} rss_mib={rss:.1} rss_peak_mib={rss_peak:.1} writes_per_node={writes:.3} status_bytes={status}"
    ))?;
    let met = *ratio <= RATIO_LIMIT && *writes <= WRITES_LIMIT && *rss <= RSS_LIMIT && *status < STATUS_LIMIT;
    Ok(if met { Verdict::Met } else { Verdict::Missed })
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.product.took.as_secs_f64() / self.bare.as_secs_f64()
    }
}

/// The middle ratio; of an even number, the greater of the two in the middle.
fn median(pairs: &[Pair]) -> f64 {
    let mut ratios: Vec<f64> = pairs.iter().map(Pair::ratio).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Figures {
    /// The middle ratio, and the worst of everything else.
    fn of(pairs: &[Pair], status: usize) -> Self {
        let most =
            |figure: fn(&Run) -> f64| pairs.iter().map(|pair| figure(&pair.product)).fold(0.0, f64::max);
        Self {
            ratio: median(pairs),
            writes: most(|run| run.writes),
            rss: most(|run| run.rss),
            rss_peak: most(|run| run.rss_peak),
            status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(product: u64, bare: u64, writes: f64) -> Pair {
        let took = Duration::from_secs(product);
        let product = Run { took, writes, rss: writes * 10.0, rss_peak: writes * 20.0 };
        Pair { product, bare: Duration::from_secs(bare) }
    }

    #[test]
    fn the_middle_ratio_and_the_worst_of_the_rest_count() {
        let pairs = [pair(9, 3, 1.0), pair(2, 2, 1.25), pair(3, 2, 1.0)];
        let Figures { ratio, writes, rss, rss_peak, status } = Figures::of(&pairs, 7);
        assert_eq!((ratio, writes, rss, rss_peak, status), (1.5, 1.25, 12.5, 25.0, 7));
    }

    #[test]
    fn one_figure_beyond_its_aim_is_a_miss() {
        let good = || Figures { ratio: 1.2, writes: 1.0, rss: 57.0, rss_peak: 90.0, status: 2047 };
        assert_eq!(conclude(&good()).unwrap(), Verdict::Met);
        for bad in [
            Figures { ratio: 1.21, ..good() },
            Figures { writes: 1.001, ..good() },
            Figures { rss: 57.3, ..good() },
            Figures { status: 2048, ..good() },
        ] {
            assert_eq!(conclude(&bad).unwrap(), Verdict::Missed, "{bad:?}");
        }
    }
}
