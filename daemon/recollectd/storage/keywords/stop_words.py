"""Words that say nothing about what a text is about: articles, pronouns, prepositions, conjunctions, auxiliaries.

Only closed classes of words, and only those that are hardly ever searched for: a list that is too long loses answers
(`will`, `may` and `us` are names too), one that is too short costs time. A language without a list goes without; its
frequent words get little weight anyhow.
"""

from __future__ import annotations

from typing import Final

_ENGLISH: Final = """
a about above after again against all am an and any are as at be because been before being below between both but by
can could did do does doing down during each few for from further had has have having he her here hers herself him
himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only or other
our ours ourselves out over own same she should so some such than that the their theirs them themselves then there
these they this those through to too under until up very was we were what when where which while who whom whose why
with would you your yours yourself yourselves ought
aren't can't cannot couldn't didn't doesn't don't hadn't hasn't haven't isn't mustn't shan't shouldn't wasn't weren't
won't wouldn't he'd he'll he's here's how's i'd i'll i'm i've it'd it'll it's let's she'd she'll she's that'd that'll
that's there's they'd they'll they're they've we'd we'll we're we've what's when's where's who'd who'll who's why's
you'd you'll you're you've
"""

_GERMAN: Final = """
aber alle allem allen aller alles als also am an andere anderem anderen anderer anderes auch auf aus bei beim bin bis
bist da damit dann das dass dein deine deinem deinen deiner dem den denn der des dessen dich die dies diese diesem
diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines er es etwas euch euer eure für gegen habe
haben hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in indem ins ist jede jedem
jeden jeder jedes jene jener jenes kann kein keine keinem keinen keiner können könnte man mein meine meinem meinen
meiner mich mir mit muss nach nicht noch nun nur ob oder ohne sehr sein seine seinem seinen seiner sich sie sind so
soll sollte sondern um und uns unser unsere unter vom von vor war waren warst was weil welche welchem welchen welcher
welches wenn werde werden wie wieder will wir wird wirst wo wurde würde zu zum zur zwar zwischen über
"""

_FRENCH: Final = """
a ai as au aux avait avec avez avons c ce ces cet cette d dans de des du elle elles en es est et eu eux il ils j je l
la le les leur leurs lui m ma mais me mes moi mon même n ne nos notre nous on ont ou où par pas pour qu que qui s sa
se ses si son sont sur t ta te tes toi ton tu un une vos votre vous y à été être
"""

_SPANISH: Final = """
a al algo ante antes como con contra cual cuando de del desde donde durante e el ella ellas ellos en entre era eran
eres es esa esas ese eso esos esta estas este esto estos está están fue ha han has hasta hay he la las le les lo los
me mi mis mucho muy más mí ni no nos nosotros nuestra nuestro o os para pero por porque que quien qué se ser si sin
sobre son su sus sí también tanto te tu tus tú un una uno unos vosotros y ya yo él
"""

_ITALIAN: Final = """
a ad agli ai al alla alle allo anche c che chi ci come con contro cui d da dagli dai dal dalla dalle dallo degli dei
del della delle dello di dov dove e ed era erano essere fra gli ha hai hanno ho i il in io l la le lei li lo loro lui
ma mi mia mie miei mio ne negli nei nel nella nelle nello noi non nostra nostro o per perché più quale quando quanto
quella quelle quelli quello questa queste questi questo se sei si sia siamo siete sono sta su sua sue sugli sui sul
sulla sulle sullo suo suoi ti tra tu tua tue tuo tuoi un una uno vi voi vostra vostro è
"""

_PORTUGUESE: Final = """
a ao aos as até com como da das de dela dele deles depois do dos e ela elas ele eles em entre era essa essas esse
esses esta estas este estes eu foi há isso isto já lhe lhes mais mas me mesmo meu meus minha minhas muito na nas nem no
nos nossa nosso num numa não nós o os ou para pela pelas pelo pelos por qual quando que quem se sem ser seu seus sua
suas são só também te tem tu tua um uma vos você vocês à às é
"""

_DUTCH: Final = """
aan al als altijd ben bij dan dat de der deze die dit doch door dus een en er ge geen haar had heb hebben heeft hem
het hier hij hoe hun ik in is ja je kan kon maar me meer men met mij mijn na naar niet nog nu of om omdat onder ons
ook op over te tegen toch toen tot u uit uw van voor want waren was wat we wel werd wie wij wil worden zal ze zelf
zich zij zijn zo zou
"""

STOP_WORDS: Final[dict[str, frozenset[str]]] = {
    language: frozenset(words.split())
    for language, words in {
        "english": _ENGLISH,
        "german": _GERMAN,
        "french": _FRENCH,
        "spanish": _SPANISH,
        "italian": _ITALIAN,
        "portuguese": _PORTUGUESE,
        "dutch": _DUTCH,
    }.items()
}
