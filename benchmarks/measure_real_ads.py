"""How far can a model know real ads? The part of the Pitt Image Ads that ADS_PITT names.

`measure_real_ads.py ceiling` needs the annotations alone: F1 of two people, of panels that the votes hold, and of larger panels by a model of the
votes, for two targets: a further annotator, and a label that two of three others choose."""
import os, sys
import pandas as pd
from bench import here
from ads_sentiment.core import write_csv
from ads_sentiment.data.annotations import annotator_counts, consensus_labels, find_annotations, read_labels, read_sentiments, vote_table
from ads_sentiment.evaluation.panels import panel_curve

targets = {'one other': dict(others=1), 'two of three others': dict(others=3, min_votes=2)}
rules = {'best': ('best', 'beta'), 'majority': ('majority', 'beta'), 'best, two rates': ('best', 'two rates')}

def annotations():
    "Votes of all annotated images, their numbers of annotators, and the labels of the study"
    folder = find_annotations(os.environ['ADS_PITT'])
    votes = read_sentiments(folder/'Sentiments.json', read_labels(folder/'Sentiments_List.txt'))
    table = vote_table(votes)
    return table, annotator_counts(votes), list(consensus_labels(table).columns)

def ceiling():
    "Curves of panels for each target and rule"
    table,annotators,vocab = annotations()
    curves = [panel_curve(table, annotators, vocab, **target, votes=votes, model=model).assign(target=name, rule=rule, images=len(table))
        for name,target in targets.items() for rule,(votes,model) in rules.items()]
    write_csv(pd.concat(curves).round(4), here/'real-ads-ceiling.csv')

modes = dict(ceiling=ceiling)

def main(mode): modes[mode]()

if __name__=='__main__': main(*sys.argv[1:])
