"""Does the validation set say what the test set will say? `score('valid')` and `score('test')` after `fit_head`, on five stratified splits of the
demo ads with seeds 0 to 4. `held-out-demo-differences.csv` has the mean difference, valid minus test, and its 95 % t-interval over the splits."""
import numpy as np, pandas as pd
from scipy import stats
from bench import here
from ads_sentiment.core import write_csv
from ads_sentiment.data.datasets import demo_ads
from ads_sentiment.training.learner import recipe_learner
from ads_sentiment.data.images import prepare_images
from ads_sentiment.data.splits import resplit

seeds,shown = range(5),['macro_f1', 'micro_f1', 'mean_ap', 'log_loss', 'ece']

def measure(ads, seed):
    "Scores of one split on its validation and its test set"
    learn = recipe_learner(resplit(ads, 'stratified', seed=seed), seed=seed)
    learn.fit_head()
    return dict(split=seed, **{f'{k}_{part}': v for part in ('valid', 'test') for k,v in learn.score(part).iloc[0][shown].items()}, weights=learn.weights_used)

def difference(table, k):
    "Mean of valid minus test over the splits, and its 95 % interval"
    d = table[f'{k}_valid'] - table[f'{k}_test']
    low,high = stats.t.interval(.95, len(d)-1, d.mean(), d.std(ddof=1)/np.sqrt(len(d)))
    return dict(metric=k, difference=d.mean(), low=low, high=high)

def main():
    ads,_ = prepare_images(demo_ads())
    table = pd.DataFrame([measure(ads, seed) for seed in seeds])
    differences = pd.DataFrame([difference(table, k) for k in shown])
    write_csv(table.round(4), here/'held-out-demo.csv')
    write_csv(differences.round(4), here/'held-out-demo-differences.csv')
    print(table.round(3).T.to_string(), differences.round(4).to_string(), sep='\n\n')

if __name__=='__main__': main()
